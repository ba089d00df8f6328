"""What the supervisor knows of one worker process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable

from sluice_runner import processes
from sluice_runner.lines import LineReader, OutBuffer
from sluice_runner.loop import Loop


class Handle:
    """One worker: its pipes, the rows it has, and when it was last heard."""

    def __init__(self, pid: int, read: int, write: int, *, temporary: bool) -> None:
        self.reader = LineReader(read)
        self.out = OutBuffer(write)
        self.temporary = temporary  # ends with its last row: a suspect's own worker, or one with too many hung rows
        self.rows: dict[int, str] = {}  # in flight: our number -> the orchestrator's id
        self.hung: set[int] = set()  # abandoned, and still occupying a thread
        self.ready = False
        self.aggregating = False
        self.seen = time.monotonic()
        self._pid = pid
        self._ending = ""  # how it ended, once it has

    @classmethod
    def start(cls, main: Callable[[int, int], None] | None, close: Iterable[int], *, temporary: bool) -> Handle:
        """Fork a worker that runs `main`, without the parent's pipes `close`; or start a fresh one if None."""
        theirs_read, ours_write = os.pipe()
        ours_read, theirs_write = os.pipe()
        if main is None:
            pid = processes.spawn(theirs_read, theirs_write)
        else:
            pid = processes.fork(main, [*close, ours_read, ours_write], theirs_read, theirs_write)
        os.close(theirs_read)
        os.close(theirs_write)
        return cls(pid, ours_read, ours_write, temporary=temporary)

    @property
    def fds(self) -> tuple[int, int]:
        return self.reader.fd, self.out.fd

    def send(self, line: bytes) -> None:
        self.out.put(line + b"\n")

    def write(self, loop: Loop) -> None:
        """Write what the worker's pipe takes; one that died is noticed by the end of its other pipe."""
        with contextlib.suppress(BrokenPipeError):
            loop.write(self.out)

    def abandon(self, row: str) -> None:
        """Forget the row; its thread goes on."""
        for number in [n for n, name in self.rows.items() if name == row]:
            del self.rows[number]
            self.hung.add(number)

    def forget(self, number: int) -> None:
        """The row's thread has come back."""
        self.rows.pop(number, None)
        self.hung.discard(number)

    def has_ended(self) -> bool:
        return bool(self._ending) or processes.has_ended(self._pid)

    def end(self) -> str:
        """End the process if it still lives, close the pipes, and say how it ended."""
        if not self._ending:
            self._ending = processes.kill(self._pid)
            for fd in self.fds:
                with contextlib.suppress(OSError):
                    os.close(fd)
        return self._ending
