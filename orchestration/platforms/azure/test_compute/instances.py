"""Compute instances of one run: they are created, used and removed, never started again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.errors import ConfigurationError, ResourceNotFound
from orchestration.platforms.azure.errors import sent, translated
from orchestration.platforms.azure.faults import explained, said_by
from orchestration.platforms.azure.resources import check_settled, owner_tags
from orchestration.platforms.azure.test_compute.identities import Identities
from orchestration.platforms.azure.test_compute.ownership import check_made, check_same_run, is_made
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.base import DELETING, FAILED, SUCCEEDED, Found
from orchestration.platforms.names import INSTANCE
from orchestration.platforms.places import ComputeInstance

API = "2023-08-01-preview"
RUNNING = "Running"
# What a machine can come to though Azure says that it was created.
BROKEN = frozenset({"CreateFailed", "SetupFailed", "UserSetupFailed", "Unusable", "JobFailed"})
NOT_SAID = "Azure gives no reason; the activity log of the workspace may."


class Instances:
    """The compute instances of one workspace."""

    def __init__(self, session: Session, identities: Identities) -> None:
        self._session, self._identities = session, identities

    def read(self, name: str) -> Any | None:
        """The instance as azure-ai-ml has it; None only if the workspace is there and the instance is not."""
        try:
            with translated(f"read the compute instance {name}"):
                return self._session.ml.compute.get(name)
        except ResourceNotFound:
            self._session.details()
            return None

    def create(self, wanted: ComputeInstance) -> None:
        """Start to create it; one of this run is adopted as it is."""
        if not INSTANCE.fullmatch(wanted.name):
            raise ConfigurationError(f"The compute instance name {wanted.name!r} is not valid.")
        present, what = self.read(wanted.name), f"compute instance {wanted.name}"
        if present is not None:
            check_same_run(what, present.tags, wanted.tags)
            if state(present) == DELETING:
                check_settled(what, DELETING)
            return

        def write() -> None:
            with translated(f"create the {what}"):
                self._session.ml.compute.begin_create_or_update(self._rendered(wanted))

        sent(write, landed=lambda: self.read(wanted.name) is not None)

    def get(self, name: str) -> Found | None:
        """How it stands; a failed one says why."""
        found = self.read(name)
        return None if found is None else self._found(found, explain=True)

    def delete(self, name: str) -> None:
        """Start to remove it with its disk; absent, and being removed, is done."""
        present, what = self.read(name), f"compute instance {name}"
        if present is None:
            return
        check_made(what, present.tags)
        if state(present) == DELETING:
            return

        def write() -> None:
            with translated(f"delete the {what}"):
                self._session.ml.compute.begin_delete(name)

        sent(write, landed=lambda: self._gone(name))

    def owned(self) -> Sequence[Found]:
        """Those that runs of ours made."""
        with translated("list the compute instances"):
            found = list(self._session.ml.compute.list(compute_type="ComputeInstance"))
        return [self._found(each) for each in found if is_made(each.tags)]

    def _gone(self, name: str) -> bool:
        live = self.read(name)
        return live is None or state(live) == DELETING

    def _rendered(self, wanted: ComputeInstance) -> Any:
        from azure.ai.ml.entities import (  # noqa: PLC0415 - takes a second
            ComputeInstance as Instance,
        )
        from azure.ai.ml.entities import IdentityConfiguration, ManagedIdentityConfiguration  # noqa: PLC0415

        assigned = ManagedIdentityConfiguration(resource_id=self._identities.arm_id(wanted.identity))
        return Instance(
            name=wanted.name,
            size=wanted.size,
            identity=IdentityConfiguration(type="UserAssigned", user_assigned_identities=[assigned]),
            idle_time_before_shutdown_minutes=wanted.idle_minutes,
            ssh_public_access_enabled=False,
            tags=owner_tags(wanted.tags),
        )

    def _found(self, entity: Any, *, explain: bool = False) -> Found:
        current = state(entity)
        message = self._failure(entity) if explain and current in FAILED else ""
        return Found(ComputeInstance.kind, str(entity.name), current, message, dict(entity.tags or {}))

    def _failure(self, entity: Any) -> str:
        """Why it failed: azure-ai-ml keeps the code of the reason and drops its message."""
        with translated(f"read why {entity.name} failed"):
            body = self._session.arm("GET", f"{self._session.workspace.arm_id}/computes/{entity.name}", api_version=API)
        errors = ((body or {}).get("properties") or {}).get("provisioningErrors") or []
        first = errors[0] if errors and isinstance(errors[0], Mapping) else None
        if first:
            return explained(said_by(first))
        return f"{_word(entity.state)}." if _word(entity.state) in BROKEN else NOT_SAID


def state(entity: Any) -> str:
    """How it stands: only a machine that runs has succeeded."""
    provisioning, machine = _word(entity.provisioning_state) or "Unknown", _word(entity.state)
    if machine in BROKEN:
        return "Failed"
    return machine or "Unknown" if provisioning == SUCCEEDED and machine != RUNNING else provisioning


def _word(said: Any) -> str:
    """A state as text: an enumeration where the SDK knows the word."""
    return str(getattr(said, "value", said) or "")
