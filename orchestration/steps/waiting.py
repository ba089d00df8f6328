"""Waiting for a resource: success only by name, failure raised at once with the resource's last lines."""

from __future__ import annotations

from orchestration.errors import ProvisioningFailed, ResourceNotFound
from orchestration.platforms import open_platform
from orchestration.platforms.base import FAILED, SUCCEEDED, Found
from orchestration.polling import REAL, Clock, every, wait_until
from orchestration.steps.work import Work

POLL_SECONDS = 0.2


def wait_for(work: Work, kind: str, name: str, *, endpoint: str = "", clock: Clock = REAL) -> Found:
    """Wait until it is there. Raises `ProvisioningFailed`, `ResourceNotFound`, `PlatformTimeout`."""
    platform, last = open_platform(work.settings), ["absent"]

    def ready() -> Found | None:
        found = platform.get(kind, name, endpoint=endpoint)
        if found is None:
            raise ResourceNotFound(f"{kind.capitalize()} {name} is gone.")
        last[0] = found.state
        if found.state in FAILED:
            logs = platform.logs(kind, name, endpoint=endpoint)
            raise ProvisioningFailed(f"{kind.capitalize()} {name} {found.state}: {found.message}", logs=logs)
        return found if found.state == SUCCEEDED else None

    return wait_until(
        ready,
        what=f"{kind.capitalize()} {name}",
        timeout_seconds=work.settings.rollout.ready_timeout_seconds,
        wait=every(POLL_SECONDS),
        clock=clock,
        last=lambda: last[0],
    )


def wait_gone(work: Work, kind: str, name: str, *, endpoint: str = "", clock: Clock = REAL) -> None:
    """Wait until it is truly absent. Raises `PlatformTimeout`."""
    platform = open_platform(work.settings)
    wait_until(
        lambda: True if platform.get(kind, name, endpoint=endpoint) is None else None,
        what=f"The removal of {name}",
        timeout_seconds=work.settings.rollout.ready_timeout_seconds,
        wait=every(POLL_SECONDS),
        clock=clock,
    )
