"""The log of what user code prints, without the secrets it was given, in at most two files of a bounded size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from orchestration.redaction import Redactor

LONGEST_LINE = 64 * 2**10


class PrintedLog:
    """Appends what one process prints to `path`; when that is full it becomes `<path>.1` and an older one is dropped."""

    def __init__(self, path: Path, *, limit_bytes: int, redactor: Redactor) -> None:
        self._path, self._limit, self._redactor = path, limit_bytes, redactor
        self._held = b""

    def create(self) -> None:
        """Make an empty log, so that somebody who is told to look there finds one. Raises `OSError`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._opened().close()

    def feed(self, data: bytes) -> None:
        """Take a piece of output; whole lines are written, the rest is held until its line ends."""
        lines, newline, self._held = (self._held + data).rpartition(b"\n")
        self._write(lines + newline)
        if len(self._held) > LONGEST_LINE:
            self._write_most_of_held()

    def note(self, line: str) -> None:
        """Write a line of our own."""
        self.flush()
        self._write(f"[sluice] {line}\n".encode())

    def flush(self) -> None:
        """Write what is held."""
        if self._held:
            self._write(self._held + b"\n")
            self._held = b""

    def _write_most_of_held(self) -> None:
        # A secret may lie across the cut: redact first, and keep back as much as the start of one could be.
        clean = self._redactor.clean(self._held)
        cut = len(clean) - (self._redactor.longest - 1)
        self._held = clean[cut:]
        self._append(clean[:cut])

    def _write(self, data: bytes) -> None:
        self._append(self._redactor.clean(data))

    def _append(self, data: bytes) -> None:
        if not data:
            return
        written = self._path.stat().st_size if self._path.exists() else 0  # another process may write to it, too
        if written and written + len(data) > self._limit:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
        with self._opened() as file:
            file.write(data[-self._limit :])

    def _opened(self) -> BinaryIO:
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def last_lines(path: Path, lines: int) -> str:
    """The last lines of a log and, if it has fewer, of the file before it; the empty string if there is none."""
    files = [path.with_name(path.name + ".1"), path]
    text = b"".join(file.read_bytes() for file in files if file.exists())
    return "\n".join(text.decode(errors="replace").splitlines()[-lines:]) if lines > 0 else ""
