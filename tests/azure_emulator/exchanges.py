"""What went over the wire, kept as bytes: nothing that changes later can change it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer. Bodies are None where they were passed on as they came (blobs).

    `at` is by the emulator's clock. `broken`: the connection was cut or the body spoilt on purpose.
    """

    at: float
    method: str
    url: str
    request_headers: Mapping[str, str]
    request_body: bytes | None
    status: int
    response_headers: Mapping[str, str]
    response_body: bytes | None
    broken: bool = False

    def document(self) -> dict[str, Any]:
        """In the form that the validator reads."""
        return {
            "method": self.method,
            "url": self.url,
            "request_headers": dict(self.request_headers),
            "request_body": _text(self.request_body),
            "status": self.status,
            "response_headers": dict(self.response_headers),
            "response_body": _text(self.response_body),
        }


def write(exchanges: Iterable[Exchange], path: Path) -> int:
    """Write those that were not broken on purpose, one JSON object a line; returns their number."""
    lines = [json.dumps(each.document()) for each in exchanges if not each.broken]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _text(body: bytes | None) -> str | None:
    if not body:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
