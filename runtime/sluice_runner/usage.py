"""How a plain callable reports the tokens it used: `sluice_runner.usage.add(prompt, completion)`.

The count belongs to the row that is being run. It follows `await` and `asyncio` tasks; a thread that user code
starts itself has to be started with `contextvars.copy_context().run`. Outside of a row, `add` does nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sluice_runner.adapters.base import Tokens


class Counter:
    """Tokens of one row; several threads may add."""

    def __init__(self) -> None:
        self.prompt = 0
        self.completion = 0
        self._lock = threading.Lock()

    def add(self, prompt: int, completion: int) -> None:
        with self._lock:
            self.prompt += prompt
            self.completion += completion

    def tokens(self) -> Tokens:
        with self._lock:
            return Tokens(prompt=self.prompt, completion=self.completion)


_current: ContextVar[Counter | None] = ContextVar("sluice_usage", default=None)


def add(prompt: int, completion: int) -> None:
    """Add tokens, as the model provider counted them, to the row that is being run. Raises `ValueError` below 0."""
    if prompt < 0 or completion < 0:
        raise ValueError(f"a model can't have used {prompt} and {completion} tokens")
    counter = _current.get()
    if counter is not None:
        counter.add(prompt, completion)


@contextmanager
def counting() -> Iterator[Counter]:
    """Count what `add` is given within the block."""
    counter = Counter()
    token = _current.set(counter)
    try:
        yield counter
    finally:
        _current.reset(token)
