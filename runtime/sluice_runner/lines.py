"""Lines over pipes without ever blocking on a slow reader, and JSON as the protocol wants it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
from collections import deque
from collections.abc import Mapping
from typing import Any

CHUNK = 1 << 20


def encode(message: Mapping[str, Any]) -> bytes:
    """One protocol line: ASCII JSON and a newline. Raises TypeError, ValueError or RecursionError if it can't be."""
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def plain(value: Any) -> Any:
    """The value as JSON can hold it: odd numbers and unknown objects as text, numpy's scalars and arrays as ours."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _odd(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if callable(getattr(value, "tolist", None)):  # numpy, without importing it
        return plain(value.tolist())
    return str(value)


def _odd(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


class LineReader:
    """Splits what a file descriptor delivers into lines. Lines may be tens of megabytes long."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._parts: list[bytes] = []

    def read(self) -> tuple[list[bytes], bool]:
        """One read of what is there: the lines that are now complete, and whether it was the end of the file."""
        chunk = os.read(self.fd, CHUNK)
        return self._split(chunk), not chunk

    def drain(self) -> list[bytes]:
        """Whatever can be read without waiting."""
        lines: list[bytes] = []
        ended = False
        while not ended and select.select([self.fd], [], [], 0)[0]:
            more, ended = self.read()
            lines += more
        return lines

    def _split(self, chunk: bytes) -> list[bytes]:
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._parts, lines[0]])
            self._parts = []
        if rest:
            self._parts.append(rest)
        return lines


class OutBuffer:
    """Bytes on their way into a pipe: `put` never blocks, `flush` writes as much as the pipe takes."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._waiting: deque[memoryview] = deque()
        os.set_blocking(fd, False)

    def __bool__(self) -> bool:
        """Whether something still waits."""
        return bool(self._waiting)

    def put(self, data: bytes) -> None:
        self._waiting.append(memoryview(data))

    def flush(self) -> None:
        """Raises `BrokenPipeError` if nobody reads any more."""
        while self._waiting:
            data = self._waiting[0]
            try:
                written = os.write(self.fd, data[:CHUNK])
            except BlockingIOError:
                return
            if written == len(data):
                self._waiting.popleft()
            else:
                self._waiting[0] = data[written:]

    def finish(self, seconds: float) -> None:
        """Write the rest, waiting at most `seconds` for each piece to be taken; for the last words before the end."""
        with contextlib.suppress(BrokenPipeError):
            while self._waiting and select.select([], [self.fd], [], seconds)[1]:
                self.flush()
