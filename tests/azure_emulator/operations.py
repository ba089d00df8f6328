"""Long-running operations: what the clients are told to poll, and how an operation stands by the clock."""

from __future__ import annotations

import asyncio
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from .arm_ids import ArmId
from .faults import OperationFails
from .wire import Request, Response, error

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # the emulator's clock starts here
CREATING, UPDATING, DELETING = "Creating", "Updating", "Deleting"
SUCCEEDED, FAILED, CANCELED = "Succeeded", "Failed", "Canceled"
_POLL = re.compile(r"/providers/[^/]+/locations/[^/]+/(?P<what>\w*Operation\w*)/(?P<id>[^/]+)/?$", re.IGNORECASE)


def timestamp(seconds: float) -> str:
    """A moment of the emulator's clock as ISO 8601."""
    return (EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Lro:
    """The polling headers of a resource provider, as published, per method; and the names of its poll URLs."""

    status: str
    result: str
    put: tuple[str, ...]
    patch: tuple[str, ...]
    delete: tuple[str, ...]
    prefix: str = ""
    timeout: str = ""

    def headers_of(self, method: str) -> tuple[str, ...]:
        """The polling headers in the answer to that method."""
        return {"PUT": self.put, "PATCH": self.patch, "DELETE": self.delete}[method]


ASYNC, LOCATION = "Azure-AsyncOperation", "Location"
ENDPOINTS = Lro("mfeOperationsStatus", "mfeOperationResults", (ASYNC,), (LOCATION,), (LOCATION,), "oe:", "PT1H")
COMPUTES = Lro("computeOperationsStatus", "computeOperationsResults", (ASYNC,), (LOCATION,), (ASYNC, LOCATION))


@dataclass(slots=True)
class Operation:
    """One change that takes time. It ends at `ends`, unless that is infinite; then `error` says if it failed."""

    lro: Lro
    method: str
    verb: str
    target: ArmId
    region: str
    api_version: str
    started: float
    ends: float
    failure: OperationFails | None = None
    error: dict[str, Any] | None = None
    status: str = "InProgress"
    ended_at: float = 0.0
    polls: int = 0
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pending(self) -> bool:
        """Whether it has not ended."""
        return self.status == "InProgress"

    def url(self, header: str) -> str:
        """What that polling header says."""
        subscription = "/".join(self.target.path.split("/")[:3])
        what = self.lro.result if header == LOCATION else self.lro.status
        return (
            f"https://management.azure.com{subscription}/providers/{self.target.namespace}/locations/{self.region}"
            f"/{what}/{self.name}?api-version={self.api_version}"
        )

    @property
    def name(self) -> str:
        """Its name in the poll URLs."""
        return f"{self.lro.prefix}{self.id}:{uuid.UUID(int=0)}" if self.lro.prefix else self.id

    def headers(self, retry_after_ms: int) -> dict[str, str]:
        """The headers of the answer that accepts it. No Retry-After: clients would wait whole seconds."""
        told = {header: self.url(header) for header in self.lro.headers_of(self.method)}
        if self.lro.timeout:
            told["x-ms-async-operation-timeout"] = self.lro.timeout
        return {**told, "x-ms-retry-after-ms": str(retry_after_ms)}

    def end(self, at: float, status: str, error: dict[str, Any] | None = None) -> None:
        """It is over."""
        self.status, self.error, self.ended_at = status, error, at

    def poll(self, what: str, retry_after_ms: int, shown: Any) -> Response:
        """The answer to one poll of the URL named `what`; `shown` is the resource, None if it is gone."""
        self.polls += 1
        if not self.pending:
            self.told.set()
        wait = {"x-ms-retry-after-ms": str(retry_after_ms)} if self.pending else {}
        if what.lower() == self.lro.status.lower():
            return Response(200, self._status_body(), wait)
        if self.pending:
            return Response(202, None, {LOCATION: self.url(LOCATION), **wait})
        if self.error:
            return error(400, self.error.get("code") or "OperationFailed", self.error["message"])
        return Response(204) if shown is None else Response(200, shown)

    def _status_body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"name": self.name, "status": self.status, "startTime": timestamp(self.started)}
        if not self.pending:
            body["endTime"] = timestamp(self.ended_at)
        if self.error:
            body["error"] = self.error
        return body


def polled(request: Request) -> tuple[str, str] | None:
    """Which poll URL a request names, and of which operation; None if it is no poll."""
    found = _POLL.search(request.path)
    if not found or request.method != "GET":
        return None
    return found["what"], found["id"]
