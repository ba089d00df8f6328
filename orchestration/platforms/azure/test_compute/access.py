"""The one role of a run's identity: to use the workspace as a data scientist does.

Role assignments have no tags, and a GUID for a name. Here one is called by its identity's name, from which that GUID
follows: so it can be found, and taken back, after its identity is gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from azure.core.exceptions import HttpResponseError

from orchestration.errors import PlatformConflict, ResourceNotFound, ResourceRefused
from orchestration.platforms.azure.errors import sent, translated
from orchestration.platforms.azure.faults import said
from orchestration.platforms.azure.roles import EXISTS
from orchestration.platforms.azure.test_compute.identities import Identities
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.base import SUCCEEDED, Found, RoleAssignment

DATA_SCIENTIST = "f6c7c914-8db3-469d-8ca1-694a8f32e121"  # AzureML Data Scientist, in every directory
DESCRIPTION = "sluice: for the compute instance of "  # then the name of its identity


class Access:
    """Role assignments of run identities, at the workspace."""

    def __init__(self, session: Session, identities: Identities) -> None:
        self._session, self._identities = session, identities

    def wanted(self, identity: str) -> RoleAssignment:
        """What the identity needs. Raises `PlatformConflict` while it has no principal."""
        found = self._identities.read(identity)
        principal = str(found.principal_id or "") if found is not None else ""
        if not principal:
            raise PlatformConflict(f"The managed identity {identity} is not there yet.")
        return RoleAssignment(identity, self._scope, principal, DATA_SCIENTIST, endpoint="")

    def create(self, wanted: RoleAssignment) -> None:
        """Assign it. One that a removed identity of the same name left is taken back first: it can't be changed."""
        present = self._read(wanted.name)
        if present is not None and str(present.principal_id).lower() == wanted.principal_id.lower():
            return
        if present is not None:
            self.delete(wanted.name)

        def write() -> None:
            with translated(f"give {wanted.name} access to {self._session.workspace.workspace}"):
                self._put(wanted)

        sent(write, landed=lambda: self._read(wanted.name) is not None)

    def get(self, identity: str) -> Found | None:
        """How it stands."""
        return None if self._read(identity) is None else Found(RoleAssignment.kind, identity, SUCCEEDED)

    def delete(self, identity: str) -> None:
        """Take it back; absent is done. Raises `ResourceRefused` for one that is not of a run."""
        present = self._read(identity)
        if present is None:
            return
        if not _is_ours(present):
            raise ResourceRefused(f"The role assignment {present.name} is not of a run: it stays.")
        with translated(f"take back the access of {identity}"):
            self._all.delete(self._scope, self._guid(identity))

    def owned(self) -> Sequence[Found]:
        """Those that runs of ours made, by what they say of themselves."""
        with translated("list the role assignments"):
            found = list(self._all.list_for_scope(self._scope, filter="atScope()"))
        names = [str(each.description).removeprefix(DESCRIPTION) for each in found if _is_ours(each)]
        return [Found(RoleAssignment.kind, name, SUCCEEDED) for name in names]

    def _guid(self, identity: str) -> str:
        """What Azure calls the identity's assignment, whether it is there or not."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._identities.arm_id(identity).lower()}|{DATA_SCIENTIST}"))

    def _read(self, identity: str) -> Any | None:
        try:
            with translated(f"read the access of {identity}"):
                return self._all.get(self._scope, self._guid(identity))
        except ResourceNotFound:
            self._session.details()
            return None

    def _put(self, wanted: RoleAssignment) -> None:
        subscription = self._session.workspace.subscription_id
        role = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{wanted.role_id}"
        properties = {
            "roleDefinitionId": role,
            "principalId": wanted.principal_id,
            "principalType": "ServicePrincipal",  # without it Azure looks a new principal up, and does not find it
            "description": DESCRIPTION + wanted.name,
        }
        try:
            self._all.create(self._scope, self._guid(wanted.name), {"properties": properties})
        except HttpResponseError as error:
            if EXISTS not in said(error).codes:
                raise

    @property
    def _all(self) -> Any:
        return self._session.authorization.role_assignments

    @property
    def _scope(self) -> str:
        return self._session.workspace.arm_id


def _is_ours(found: Any) -> bool:
    return str(found.description or "").startswith(DESCRIPTION)
