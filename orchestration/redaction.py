"""Takes known secrets out of what user code says: lines that it prints, and JSON data that comes from it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
SHORTEST_SECRET = 6  # shorter values (a flag, a digit) would redact half of the text


class Redactor:
    """Replaces each of the secrets, as it is and as JSON, Python and addresses write it, and each line of a long one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._texts: list[str] = []
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Replace these from now on, too: what was a secret before stays one."""
        forms = {form for secret in secrets for form in _forms(secret)}
        self._texts = sorted({*self._texts, *forms}, key=len, reverse=True)
        self._bytes = [os.fsencode(form) for form in self._texts]
        self._as_json = {*self._bytes, *(json.dumps(form)[1:-1].encode() for form in self._texts)}

    @property
    def longest(self) -> int:
        """Bytes of the longest secret; 1 if there is none."""
        return max((len(secret) for secret in self._bytes), default=1)

    def clean(self, data: bytes) -> bytes:
        """The text without the secrets."""
        for secret in self._bytes:
            data = data.replace(secret, REDACTED.encode())
        return data

    def is_in(self, line: bytes) -> bool:
        """Whether a line of JSON may hold a secret: what a quick look finds, `clean_value` has to take out."""
        return any(secret in line for secret in self._as_json)

    def clean_value(self, value: Any) -> Any:
        """JSON data without the secrets, in texts, in names, and as whole numbers."""
        if isinstance(value, str):
            return self._clean_text(value)
        if isinstance(value, Mapping):
            return {self._clean_text(name): self.clean_value(each) for name, each in value.items()}
        if isinstance(value, list):
            return [self.clean_value(each) for each in value]
        return REDACTED if str(value) in self._texts else value

    def _clean_text(self, text: str) -> str:
        for secret in self._texts:
            text = text.replace(secret, REDACTED)
        return text


def texts_in(value: Any) -> Iterator[str]:
    """Every text and number in JSON data, as text."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
    elif value is not None:
        yield str(value)


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be written. An error's text stands on one line, whatever it was before."""
    for part in {secret, " ".join(secret.split()), *secret.splitlines()}:
        if len(part) >= SHORTEST_SECRET:
            yield from (part, repr(part)[1:-1], json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1])
            yield from (quote(part, errors="replace"), quote(part, safe="", errors="replace"))
            yield quote_plus(part, errors="replace")
