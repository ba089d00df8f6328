"""Takes the secrets of connections out of what user code says where nobody else does: in a container of its own."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

REDACTED = "[redacted]"
SHORTEST = 6  # shorter values (a flag, a digit) would redact half of the text
LONGEST_LINE = 64 * 2**10
LAST_WORDS_SECONDS = 2.0


class Redactor:
    """Replaces each of the secrets, as it is and as JSON, Python and addresses write it."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._texts = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
        self._bytes = [os.fsencode(text) for text in self._texts]

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self._texts)

    def clean(self, data: bytes) -> bytes:
        """A text without the secrets."""
        for secret in self._bytes:
            data = data.replace(secret, REDACTED.encode())
        return data

    def clean_json(self, body: bytes) -> bytes:
        """A JSON text without the secrets, in texts, in names and as numbers; the same bytes if it holds none."""
        if not any(secret in body for secret in self._bytes):
            return body
        return json.dumps(self._value(json.loads(body)), ensure_ascii=False).encode()

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            return {self._text(name): self._value(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._value(each) for each in value]
        return REDACTED if str(value) in self._texts else value

    def _text(self, text: str) -> str:
        for secret in self._texts:
            text = text.replace(secret, REDACTED)
        return text


def guard_output(redactor: Redactor) -> Callable[[], None]:
    """Let all that this process prints from now on pass the redactor, line by line; call the result at its end."""
    read, write = os.pipe()
    kept = os.dup(2)
    _point_output_at(write)
    os.close(write)
    copying = threading.Thread(target=_copy, args=(read, kept, redactor), daemon=True)
    copying.start()

    def finish() -> None:
        _point_output_at(kept)
        copying.join(LAST_WORDS_SECONDS)  # a process that user code left behind may hold the pipe

    return finish


def _point_output_at(descriptor: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _copy(read: int, write: int, redactor: Redactor) -> None:
    held = b""
    while data := os.read(read, 65536):
        lines, newline, held = (held + data).rpartition(b"\n")
        if len(held) > LONGEST_LINE:
            lines, newline, held = lines + newline + held, b"", b""
        _write(write, redactor.clean(lines + newline))
    _write(write, redactor.clean(held))


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # nobody reads the log: no reason to hold up who prints
        while data:
            data = data[os.write(descriptor, data) :]


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be written. An error's text stands on one line, whatever it was before."""
    for part in {secret, " ".join(secret.split()), *secret.splitlines()}:
        if len(part) >= SHORTEST:
            yield from (part, repr(part)[1:-1], json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
            yield from (quote(part, errors="replace"), quote(part, safe="", errors="replace"))
