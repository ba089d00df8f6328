"""What services see of HTTP: a request, a response, and the error envelope of Azure Resource Manager."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .faults import Fault


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are in lower case, the path is decoded and without query.

    `url` is the address as it was sent; `fault` is what the scenario wants a service to play, if that is for
    the service to play (a stale read, an operation that fails); `at` is the emulator's time of arrival.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    url: str = ""
    fault: Fault | None = None
    at: float = 0.0

    @classmethod
    def of(cls, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, at: float = 0.0) -> Request:
        """The request for an absolute URL."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        path = unquote(parts.path) or "/"
        return cls(method, (parts.hostname or "").lower(), path, query, headers, body, url, at=at)

    def json(self) -> Any:
        """The body as JSON; None if there is none. Raises `ValueError` if it is no JSON."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. `body` None: empty; bytes: as they are; anything else: JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """The body as it goes over the wire."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    def wire_headers(self) -> dict[str, str]:
        """The headers with a content type for JSON, unless one is given."""
        given = {name.lower() for name in self.headers}
        if self.body is None or isinstance(self.body, bytes) or "content-type" in given:
            return dict(self.headers)
        return {"Content-Type": "application/json; charset=utf-8", **self.headers}


Handler = Callable[[Request], Awaitable[Response | None]]


def error(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error in the envelope of Azure Resource Manager."""
    return Response(status, {"error": {"code": code, "message": message}}, headers or {})


class Refused(Exception):
    """A hook's no: the status and the code of the answer, or of the failed operation."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def response(self) -> Response:
        """The answer that says so."""
        return error(self.status, self.code, self.message)
