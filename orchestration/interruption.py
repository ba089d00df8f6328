"""Ctrl-C that can't get lost: a library that swallows the exception only delays it to the next step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = threading.Event()


@contextmanager
def remembered() -> Iterator[None]:
    """Within this context SIGINT raises `KeyboardInterrupt` as ever, and `check` raises it again. Main thread only."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _asked.clear()


def check() -> None:
    """Raise `KeyboardInterrupt` if it was asked for and swallowed since."""
    if _asked.is_set():
        _asked.clear()
        raise KeyboardInterrupt


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt
