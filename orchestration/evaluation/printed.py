"""What a runner and its user code print: read from a pipe while the event loop runs, and kept in a log."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from orchestration.printed_log import PrintedLog
from orchestration.redaction import Redactor

LOG_BYTES = 10 * 2**20
CHUNK = 2**16
MOST_LEFT = 64  # chunks at the end: more than a pipe holds, so somebody who outlives the runner goes on printing


class Printed:
    """One runner's output. Must be made in the event loop; whoever makes it owes it `close`."""

    def __init__(self, fd: int, path: Path, redactor: Redactor) -> None:
        self._log = PrintedLog(path, limit_bytes=LOG_BYTES, redactor=redactor)
        with contextlib.suppress(OSError):  # a full disk costs the log, not the rows
            self._log.create()
        self._fd, self._open = fd, True
        self._loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._take)

    def close(self) -> None:
        """Take what is left once the runner is gone. Safe to repeat."""
        if not self._open:
            return
        self._open = False
        for _ in range(MOST_LEFT):
            if not self._take():
                break
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        with contextlib.suppress(OSError):
            self._log.flush()

    def _take(self) -> bool:
        """Take one piece of what is there; False if there is none."""
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._fd)
        with contextlib.suppress(OSError):
            self._log.feed(data)
        return bool(data)
