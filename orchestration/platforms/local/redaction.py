"""Takes known secrets out of what user code says."""

from __future__ import annotations

import json
from collections.abc import Iterable

REDACTED = b"[redacted]"
SHORTEST_SECRET = 6  # shorter values (a flag, a digit) would redact half of the text


class Redactor:
    """Replaces each of the secrets, as it is and as JSON writes it."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for s in secrets if len(s) >= SHORTEST_SECRET for form in (s, json.dumps(s)[1:-1])}
        self._secrets = sorted((form.encode() for form in forms), key=len, reverse=True)

    @property
    def longest(self) -> int:
        """Bytes of the longest secret; 1 if there is none."""
        return max((len(s) for s in self._secrets), default=1)

    def clean(self, data: bytes) -> bytes:
        """The text without the secrets."""
        for secret in self._secrets:
            data = data.replace(secret, REDACTED)
        return data
