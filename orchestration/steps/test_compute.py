"""The compute of one evaluation: managed identity, role, compute instance, runtime. Made, waited for, removed.

Every step reads Azure anew and does only what is missing, so a repeated one finds its work done. What a killed run
left behind carries an end in its tags: the next run's clean-up removes it from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from orchestration.errors import (
    PlatformConflict,
    PlatformError,
    PlatformUnavailable,
    ProvisioningFailed,
    ResourceNotFound,
    SluiceError,
)
from orchestration.platforms import open_place
from orchestration.platforms.base import FAILED, REMOVAL, SUCCEEDED, Found, RoleAssignment
from orchestration.platforms.names import run_name
from orchestration.platforms.places import (
    EXPIRES_TAG,
    RUN_TAG,
    ComputeInstance,
    InstanceRuntime,
    ManagedIdentity,
    PlaceResource,
)
from orchestration.polling import REAL, Clock, wait_until
from orchestration.settings.azure_account import azure_section
from orchestration.steps.work import Work, owner_tags

GRACE_SECONDS = 120.0  # in which the service may not know yet of what it has just accepted
BLIND_POLLS = 3  # so many polls in a row may fail before a wait gives up
# In the order of their removal: each before what it needs.
KINDS = (InstanceRuntime.kind, ComputeInstance.kind, RoleAssignment.kind, ManagedIdentity.kind)
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Equipment:
    """What one prompt flow's evaluation has on Azure in one run: all four are called `name`."""

    name: str
    tags: Mapping[str, str]


def equipment(work: Work, run: str, *, now: datetime | None = None) -> Equipment:
    """Names and tags for the run of that ID. It expires when every deadline of it has passed."""
    azure = azure_section(work.settings)
    own, limits = azure.compute_instance.deadlines, azure.deadlines
    seconds = 2 * limits.access + own.instance + own.runtime + 2 * own.run + len(KINDS) * limits.removal
    expires = (now or datetime.now(UTC)) + timedelta(seconds=seconds)
    tags = {**owner_tags(work), RUN_TAG: run, EXPIRES_TAG: expires.isoformat(timespec="seconds")}
    return Equipment(run_name(run, work.candidate.prompt_flow), tags)


def create_identity(work: Work, made: Equipment, *, clock: Clock = REAL) -> None:
    """Create the managed identity that the compute instance runs as, and wait until it has a principal."""
    _create(work, ManagedIdentity(made.name, made.tags), clock=clock)
    _wait_for(work, ManagedIdentity.kind, made.name, clock=clock)


def assign_role(work: Work, made: Equipment, *, clock: Clock = REAL) -> str:
    """Let the identity use the workspace as a data scientist does; returns the scope. Repeated, it assigns once."""
    kind, what = RoleAssignment.kind, f"The access of {made.name}"
    role = _when_free(work, kind, lambda: open_place(work.settings, clock=clock).access(made.name), what, clock)
    _create(work, role, clock=clock)
    return role.scope


def create_instance(work: Work, made: Equipment, *, clock: Clock = REAL) -> None:
    """Create the compute instance and wait until it runs. Raises `ProvisioningFailed` at the first sight of a failure."""
    wished = azure_section(work.settings).compute_instance
    _create(
        work, ComputeInstance(made.name, wished.vm_size, made.name, wished.idle_minutes, tags=made.tags), clock=clock
    )
    _wait_for(work, ComputeInstance.kind, made.name, clock=clock)


def create_runtime(work: Work, made: Equipment, *, clock: Clock = REAL) -> None:
    """Ask prompt flow's service for a runtime on the compute instance; it works on that for minutes."""
    _create(work, InstanceRuntime(made.name, made.name), clock=clock)


def wait_for_runtime(work: Work, made: Equipment, *, clock: Clock = REAL) -> None:
    """Wait until the service says that the runtime is ready. Raises `ProvisioningFailed` with its message if it failed."""
    _wait_for(work, InstanceRuntime.kind, made.name, clock=clock)


def remove(work: Work, made: Equipment, *, clock: Clock = REAL, now: datetime | None = None) -> None:
    """Remove what the run made, verified, and what earlier runs left that has expired.

    What can't be removed doesn't keep the rest from it. Raises `PlatformError` with all that stays.
    """
    tried = {kind: _removed(work, kind, made.name, clock=clock) for kind in KINDS}
    _remove_expired(work, clock=clock, now=now or datetime.now(UTC))
    problems = [why for kind, why in tried.items() if why and not _is_gone(work, kind, made.name, clock=clock)]
    if not problems:
        return
    expires = made.tags[EXPIRES_TAG]
    text = f"Not all of {made.name} could be removed: {' '.join(str(each) for each in problems)}"
    unavailable = any(isinstance(each, PlatformUnavailable) for each in problems)
    cure = f"A run after {expires} tries again; or remove it by hand."
    raise (PlatformUnavailable if unavailable else PlatformError)(text, cure=cure)


def _is_gone(work: Work, kind: str, name: str, *, clock: Clock) -> bool:
    """Whether it went after all: with what it belonged to, or by a call whose answer said otherwise."""
    try:
        return open_place(work.settings, clock=clock).get(kind, name) is None
    except SluiceError:
        return False


def _removed(work: Work, kind: str, name: str, *, clock: Clock) -> SluiceError | None:
    """Remove one and wait until it is gone; why that was not possible."""
    try:
        place = open_place(work.settings, clock=clock)
        _when_free(work, REMOVAL, lambda: place.delete(kind, name), f"The removal of the {kind} {name}", clock)
        _wait_gone(work, kind, name, clock=clock)
    except SluiceError as error:
        return error
    return None


def _remove_expired(work: Work, *, clock: Clock, now: datetime) -> None:
    """Start to remove what has expired, and assignments whose identity is gone. A comfort: what fails is only said."""
    try:
        place = open_place(work.settings, clock=clock)
        identities, instances = place.owned(ManagedIdentity.kind), place.owned(ComputeInstance.kind)
        known = {each.name for each in identities}
        orphans = {each.name for each in place.owned(RoleAssignment.kind)} - known
        names = {each.name for each in (*identities, *instances) if _has_expired(each, now)}
        for name in sorted(orphans | names):
            _log.info("Removing %s, which an earlier run left behind.", name)
            for kind in KINDS:
                place.delete(kind, name)
    except SluiceError as error:
        _log.warning("What earlier runs left behind could not be removed: %s", error)


def _has_expired(found: Found, now: datetime) -> bool:
    try:
        return datetime.fromisoformat(found.tags[EXPIRES_TAG]) < now
    except (KeyError, ValueError, TypeError):  # nothing that can be read as an end of its life
        return False


def _create(work: Work, wanted: PlaceResource, *, clock: Clock) -> None:
    what = f"{wanted.kind.capitalize()} {wanted.name}"
    _when_free(work, wanted.kind, lambda: open_place(work.settings, clock=clock).create(wanted), what, clock)


def _when_free(work: Work, kind: str, write: Callable[[], T], what: str, clock: Clock) -> T:
    """What `write` returns, sent again after each conflict. Raises `PlatformTimeout`."""
    last = ["another operation is under way"]

    def sent() -> tuple[T] | None:
        try:
            return (write(),)
        except PlatformConflict as conflict:
            last[0] = conflict.message
            return None

    return _poll(work, kind, sent, what, clock=clock, last=last)[0]


def _wait_for(work: Work, kind: str, name: str, *, clock: Clock) -> None:
    """Wait until it is there. Raises `ProvisioningFailed`, `ResourceNotFound`, `PlatformTimeout`."""
    what, last, began = f"{kind.capitalize()} {name}", ["absent"], clock.now()

    def ready() -> Found | None:
        found = open_place(work.settings, clock=clock).get(kind, name)
        if found is None and clock.now() - began > GRACE_SECONDS:
            raise ResourceNotFound(f"{what} is gone.")
        last[0] = found.state if found else "absent"
        if found and found.state in FAILED:
            raise ProvisioningFailed(f"{what} {found.state}: {found.message}")
        return found if found and found.state == SUCCEEDED else None

    _poll(work, kind, seeing(ready, last), what, clock=clock, last=last)


def _wait_gone(work: Work, kind: str, name: str, *, clock: Clock) -> None:
    """Wait until it is truly absent. Raises `PlatformTimeout`."""
    last = [""]

    def gone() -> bool | None:
        found = open_place(work.settings, clock=clock).get(kind, name)
        last[0] = found.state if found else "absent"
        return True if found is None else None

    _poll(work, REMOVAL, seeing(gone, last), f"The removal of the {kind} {name}", clock=clock, last=last)


def seeing(look: Callable[[], T | None], last: list[str]) -> Callable[[], T | None]:
    """The same, but a few polls in a row may get no answer."""
    blind = [0]

    def seen() -> T | None:
        try:
            found = look()
        except PlatformUnavailable as error:
            blind[0] += 1
            if blind[0] > BLIND_POLLS:
                raise
            last[0] = error.message
            return None
        blind[0] = 0
        return found

    return seen


def _poll(work: Work, kind: str, ready: Callable[[], T | None], what: str, *, clock: Clock, last: Sequence[str]) -> T:
    """Poll as long and as often as the place says for that kind."""
    patience = open_place(work.settings, clock=clock).patience(kind)
    return wait_until(
        ready,
        what=what,
        timeout_seconds=patience.timeout_seconds,
        wait=patience.wait,
        clock=clock,
        last=lambda: last[0],
    )
