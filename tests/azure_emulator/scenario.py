"""What a test scripts: how long things take, what fails, and what is slow to be known.

A call is named by its method and its kind. The kind of an ARM call is its resource type, of an action with the
action's name behind it (`…/onlineEndpoints/listKeys`); the method of a list is LIST; other services name the
kinds of their calls where they install their routes (`token`, `blob`). Where a kind is asked for, the last
segments are enough: `deployments`, `onlineEndpoints/deployments` and the full type all name the same.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TypeVar

from .faults import Fault

T = TypeVar("T")
SECONDS = {
    "PUT computes": 240.0,
    "DELETE computes": 90.0,
    "PUT onlineEndpoints": 100.0,
    "PATCH onlineEndpoints": 20.0,
    "DELETE onlineEndpoints": 60.0,
    "PUT onlineEndpoints/deployments": 480.0,
    "PATCH onlineEndpoints/deployments": 120.0,
    "DELETE onlineEndpoints/deployments": 90.0,
    "POST flowRuntimes": 300.0,
    "DELETE flowRuntimes": 30.0,
    "POST flowSessions": 180.0,
    "POST bulkRuns/submit": 60.0,
    "POST bulkRuns/cancel": 10.0,
}
UPDATE_SECONDS = {"PUT onlineEndpoints": 20.0, "PUT onlineEndpoints/deployments": 300.0}


@dataclass
class Scenario:
    """How this cloud behaves. Durations are seconds of the emulator's clock.

    `seconds` and `update_seconds` are keyed "METHOD kind"; what is in neither takes no time. `replication_seconds`
    is how long a new principal or role assignment is unknown elsewhere. With `token_seconds` set, a token is refused
    once it is that old by the clock, and clients are told not to keep it. `retry_after_ms` is what pending operations
    tell the SDK's own pollers, in real milliseconds.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict(SECONDS))
    update_seconds: dict[str, float] = field(default_factory=lambda: dict(UPDATE_SECONDS))
    replication_seconds: float = 120.0
    token_seconds: float | None = None
    page_size: int = 50
    retry_after_ms: int = 100
    played: list[tuple[str, str, Fault]] = field(default_factory=list)
    _faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, method: str, kind: str, fault: Fault, *, times: int = 1) -> None:
        """Play this fault at the next `times` calls of that name that have none before it."""
        with self._lock:
            self._faults[_key(method, kind)].extend([fault] * times)

    def take(self, method: str, kind: str) -> Fault | None:
        """The fault for this call, which is then used up."""
        with self._lock:
            queue = _named({name: waiting for name, waiting in self._faults.items() if waiting}, method, kind)
            if queue is None:
                return None
            fault = queue.popleft()
            self.played.append((method, kind, fault))
            return fault

    def unplayed(self) -> dict[str, int]:
        """The faults that no call has met, by name: a test's script that missed."""
        with self._lock:
            return {name: len(queue) for name, queue in self._faults.items() if queue}

    def duration(self, method: str, kind: str, *, update: bool = False) -> float:
        """How long an operation takes."""
        if update:
            found = _named(self.update_seconds, method, kind)
            if found is not None:
                return found
        return _named(self.seconds, method, kind) or 0.0


def _key(method: str, kind: str) -> str:
    return f"{method.upper()} {kind.strip('/').lower()}"


def _named(table: dict[str, T], method: str, kind: str) -> T | None:
    """The entry for a call: that with the longest matching end of its kind."""
    known = {key.lower(): value for key, value in table.items()}
    segments = kind.lower().strip("/").split("/")
    for first in range(len(segments)):
        found = known.get(f"{method} {'/'.join(segments[first:])}".lower())
        if found is not None:
            return found
    return None
