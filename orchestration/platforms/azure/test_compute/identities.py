"""User-assigned managed identities: who the compute instance of a run is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestration.errors import ResourceNotFound
from orchestration.platforms.azure.errors import sent, translated
from orchestration.platforms.azure.resources import owner_tags
from orchestration.platforms.azure.test_compute.ownership import check_made, check_same_run, is_made
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.base import SUCCEEDED, Found
from orchestration.platforms.places import ManagedIdentity


class Identities:
    """The managed identities in the workspace's resource group."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def arm_id(self, name: str) -> str:
        """Its ID in Azure Resource Manager."""
        group = self._session.workspace.arm_id.partition("/providers/")[0]
        return f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}"

    def read(self, name: str) -> Any | None:
        """The identity; None only if the workspace is there and the identity is not."""
        try:
            with translated(f"read the managed identity {name}"):
                return self._all.get(self._group, name)
        except ResourceNotFound:
            self._session.details()
            return None

    def create(self, wanted: ManagedIdentity) -> None:
        """Create it; Azure does so at once, but its directory learns of it within minutes."""
        present = self.read(wanted.name)
        if present is not None:
            check_same_run(f"managed identity {wanted.name}", present.tags, wanted.tags)
            return
        body = {"location": self._session.details().location, "tags": owner_tags(wanted.tags)}

        def write() -> None:
            with translated(f"create the managed identity {wanted.name}"):
                self._all.create_or_update(self._group, wanted.name, body)

        sent(write, landed=lambda: self.read(wanted.name) is not None)

    def get(self, name: str) -> Found | None:
        """How it stands: there once it has a principal."""
        found = self.read(name)
        return None if found is None else _found(found)

    def delete(self, name: str) -> None:
        """Remove it; absent is done."""
        present = self.read(name)
        if present is None:
            return
        check_made(f"managed identity {name}", present.tags)

        def write() -> None:
            with translated(f"delete the managed identity {name}"):
                self._all.delete(self._group, name)

        sent(write, landed=lambda: self.read(name) is None)

    def owned(self) -> Sequence[Found]:
        """Those that runs of ours made."""
        with translated("list the managed identities"):
            found = list(self._all.list_by_resource_group(self._group))
        return [_found(each) for each in found if is_made(each.tags)]

    @property
    def _all(self) -> Any:
        return self._session.identities.user_assigned_identities

    @property
    def _group(self) -> str:
        return self._session.workspace.resource_group


def _found(identity: Any) -> Found:
    state = SUCCEEDED if identity.principal_id else "Creating"
    return Found(ManagedIdentity.kind, str(identity.name), state, "", dict(identity.tags or {}))
