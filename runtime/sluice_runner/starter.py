"""Starts workers for one opened prompt flow: forks of this process where that is safe, else fresh interpreters."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sluice_runner import processes, worker
from sluice_runner.adapters import load_adapter
from sluice_runner.handles import Handle


class Starter:
    """Keeps the `open` line for every worker. Raises `OpenFailed` if the flow's framework can't be loaded."""

    def __init__(self, message: dict[str, Any], line: bytes) -> None:
        self._line = line
        self._forks = prepare(Path(message["flow"]))

    def start(self, close: Iterable[int], *, temporary: bool) -> Handle:
        handle = Handle.start(worker.main if self._forks else None, close, temporary=temporary)
        handle.send(b"open " + self._line)
        return handle


def prepare(flow: Path) -> bool:
    """Import the flow's framework, and say whether workers may be forked. Raises `OpenFailed`.

    With the framework imported once, here, a worker is ready in a fraction of the time. It may be called again.
    """
    adapter = load_adapter(flow)
    gc.disable()  # an import leaves much behind and throws little away, but is looked through again and again
    try:
        return processes.CAN_FORK and adapter.prepare() and _single_threaded()
    finally:
        gc.freeze()  # pages that are shared with the workers stay shared
        gc.enable()


def _single_threaded() -> bool:
    """Whether no thread, Python's or a library's, could hold a lock in the moment of a fork."""
    tasks = Path("/proc/self/task")
    return sys.platform != "linux" or len(list(tasks.iterdir())) == 1
