"""Waiting for a resource: success only by name, failure raised at once with the resource's last lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from orchestration.errors import PlatformConflict, PlatformUnavailable, ProvisioningFailed, ResourceNotFound
from orchestration.platforms import open_platform
from orchestration.platforms.base import BUSY, FAILED, REMOVAL, STOPPED, SUCCEEDED, Endpoint, Found
from orchestration.polling import REAL, Clock, wait_until
from orchestration.steps.work import Work

T = TypeVar("T")
ABSENT = "absent"
READINGS = 3


def wait_for(work: Work, kind: str, name: str, *, endpoint: str = "", clock: Clock = REAL) -> Found:
    """Wait until it is there. Absent is what two readings in a row don't find: one may be older than the resource.

    Raises `ProvisioningFailed`, `ResourceNotFound`, `PlatformTimeout`, and `PlatformUnavailable` for what nobody starts.
    """
    platform, last = open_platform(work.settings), [""]

    def ready() -> Found | None:
        found, before = platform.get(kind, name, endpoint=endpoint), last[0]
        last[0] = found.state if found else ABSENT
        if found is None:
            if before == ABSENT:
                raise ResourceNotFound(f"{kind.capitalize()} {name} is gone.", cure="Run the same command again.")
            return None
        if found.state in FAILED:
            logs = platform.logs(kind, name, endpoint=endpoint)
            raise ProvisioningFailed(f"{kind.capitalize()} {name} {found.state}: {found.message}", logs=logs)
        if found.state == STOPPED:
            raise PlatformUnavailable(f"{kind.capitalize()} {name} does not run. {found.message}")
        return found if found.state == SUCCEEDED else None

    return poll(work, kind, ready, what=f"{kind.capitalize()} {name}", clock=clock, last=lambda: last[0])


def settled(work: Work, *, clock: Clock = REAL) -> None:
    """Wait until no change of the endpoint is under way; whether it went well is not asked. Raises `PlatformTimeout`."""
    platform, last, name = open_platform(work.settings), [""], work.endpoint

    def free() -> bool | None:
        found = platform.get(Endpoint.kind, name)
        last[0] = found.state if found else ABSENT
        return None if last[0] in BUSY else True

    poll(work, Endpoint.kind, free, what=f"Endpoint {name}", clock=clock, last=lambda: last[0])


def when_free(work: Work, kind: str, write: Callable[[], T], *, what: str, clock: Clock = REAL) -> T:
    """Send a write as soon as the platform takes it: while another operation is in the way, wait and send it again.

    Raises `PlatformTimeout`, and what `write` raises but for `PlatformConflict`.
    """
    last = ["another operation is under way"]

    def sent() -> tuple[T] | None:
        try:
            return (write(),)
        except PlatformConflict as conflict:
            last[0] = conflict.message
            return None

    return poll(work, kind, sent, what=what, clock=clock, last=lambda: last[0])[0]


def read_until(work: Work, kind: str, read: Callable[[], T], right: Callable[[T], bool], *, clock: Clock = REAL) -> T:
    """What is read once it is right, or what a third reading still says: one may be older than the latest change."""
    left = [READINGS]

    def found() -> tuple[T] | None:
        left[0] -= 1
        value = read()
        return (value,) if right(value) or not left[0] else None

    return poll(work, kind, found, what=f"A reading of {work.endpoint}", clock=clock)[0]


def wait_gone(work: Work, kind: str, name: str, *, endpoint: str = "", clock: Clock = REAL) -> None:
    """Wait until it is truly absent; its requests may finish first. Raises `PlatformTimeout`."""
    platform = open_platform(work.settings)

    def gone() -> bool | None:
        return True if platform.get(kind, name, endpoint=endpoint) is None else None

    poll(work, REMOVAL, gone, what=f"The removal of {name}", clock=clock, last=lambda: "still there")


def poll(
    work: Work,
    kind: str,
    ready: Callable[[], T | None],
    *,
    what: str,
    clock: Clock = REAL,
    last: Callable[[], str] = lambda: "unknown",
) -> T:
    """Poll as long and as often as the platform says for that kind. Raises `PlatformTimeout`."""
    patience = open_platform(work.settings).patience(kind)
    return wait_until(
        ready, what=what, timeout_seconds=patience.timeout_seconds, wait=patience.wait, clock=clock, last=last
    )
