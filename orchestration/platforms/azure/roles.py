"""What the endpoint's identity may do: the roles that its containers need, assigned under names that never vary."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from azure.core.exceptions import HttpResponseError

from orchestration.errors import PlatformConflict, ResourceNotFound, ResourceRefused
from orchestration.platforms.azure.endpoints import Endpoints
from orchestration.platforms.azure.errors import sent, translated
from orchestration.platforms.azure.faults import said
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.base import SUCCEEDED, Found, RoleAssignment
from orchestration.settings import Settings
from orchestration.settings.azure import SYSTEM
from orchestration.settings.azure_account import azure_section

# Role definitions are the same in every directory.
CONNECTION_READER = "ea01e6af-a1c1-4350-9563-ad00f8c72ec5"  # Azure Machine Learning Workspace Connection Secrets Reader
IMAGE_READER = "7f951dda-4ed3-4680-a7ca-43fe172d538d"  # AcrPull
BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"  # Storage Blob Data Reader
DESCRIPTION = "sluice: lets the endpoint {} read what it serves with"
EXISTS = "RoleAssignmentExists"  # the same right under another name


class Roles:
    """Role assignments of the identities of endpoints."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session, self._settings = session, settings
        self._endpoints = Endpoints(session, settings)

    def access(self, endpoint: str) -> Sequence[RoleAssignment]:
        """What the endpoint's identity needs before its first deployment; nothing where an administrator grants it.

        Azure itself gives an endpoint's own identity access to image and model; a user-assigned one needs that too.
        Raises `PlatformConflict` while the identity has no principal yet.
        """
        azure = azure_section(self._settings)
        if not azure.grant_access:
            return ()
        principal = self._endpoints.identity(self._endpoints.need(endpoint)).principal_id
        if not principal:
            raise PlatformConflict(f"The identity of the endpoint {endpoint} is not there yet.")
        needed = [(self._session.workspace.arm_id, CONNECTION_READER)]
        if azure.endpoint_identity != SYSTEM:
            needed += self._sources()
        return [
            RoleAssignment(_name(scope, principal, role), scope, principal, role, endpoint) for scope, role in needed
        ]

    def create(self, wanted: RoleAssignment) -> None:
        """Assign it; an equal one is left as it is. Raises `PlatformConflict` while Azure does not know the principal."""
        if self._read(wanted) is not None:
            return

        def write() -> None:
            with translated(f"give the endpoint {wanted.endpoint} access to {_last(wanted.scope)}"):
                self._put(wanted)

        sent(write, landed=lambda: self._read(wanted) is not None)

    def get(self, name: str, endpoint: str) -> Found | None:
        """How it stands."""
        wanted = self._named(name, endpoint)
        found = None if wanted is None else self._read(wanted)
        return None if found is None else Found(RoleAssignment.kind, name, SUCCEEDED)

    def delete(self, name: str, endpoint: str) -> None:
        """Take it back; absent is done."""
        wanted = self._named(name, endpoint)
        if wanted is not None:
            self.remove(wanted)

    def remove(self, wanted: RoleAssignment) -> None:
        """Take it back; what somebody gave under another name stays. Azure answers 204 for one that is not there."""
        with translated(f"take back the access of the endpoint {wanted.endpoint} to {_last(wanted.scope)}"):
            self._session.authorization.role_assignments.delete(wanted.scope, wanted.name)

    def owned(self, endpoint: str = "") -> Sequence[Found]:
        """Those of the endpoints of ours, or of one: their names follow from the endpoint."""
        names = [endpoint] if endpoint else [each.name for each in self._endpoints.owned()]
        return [
            Found(RoleAssignment.kind, each.name, SUCCEEDED)
            for endpoint in names
            for each in self.granted(endpoint)
            if self._read(each)
        ]

    def own(self, endpoint: str) -> Sequence[RoleAssignment]:
        """Those that are of no use without the endpoint: a user-assigned identity outlives it, and serves others too."""
        return self.granted(endpoint) if azure_section(self._settings).endpoint_identity == SYSTEM else ()

    def granted(self, endpoint: str) -> Sequence[RoleAssignment]:
        """The same as `access`, of an endpoint that may be going or only coming: then nothing."""
        try:
            return self.access(endpoint)
        except (ResourceNotFound, PlatformConflict):
            return ()

    def _named(self, name: str, endpoint: str) -> RoleAssignment | None:
        return next((each for each in self.granted(endpoint) if each.name == name), None)

    def _read(self, wanted: RoleAssignment) -> Any | None:
        """The assignment of that name, or the same right that somebody gave under another name."""
        assignments, what = self._session.authorization.role_assignments, f"access of the endpoint {wanted.endpoint}"
        try:
            with translated(f"read the {what}"):
                found = assignments.get(wanted.scope, wanted.name)
        except ResourceNotFound:
            with translated(f"list the {what}"):
                others = list(
                    assignments.list_for_scope(wanted.scope, filter=f"principalId eq '{wanted.principal_id}'")
                )
            return next((each for each in others if _same(each, wanted)), None)
        if not _same(found, wanted):
            raise ResourceRefused(f"The role assignment {wanted.name} gives somebody else another role.")
        return found

    def _put(self, wanted: RoleAssignment) -> None:
        subscription = self._session.workspace.subscription_id
        role = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{wanted.role_id}"
        properties = {
            "roleDefinitionId": role,
            "principalId": wanted.principal_id,
            "principalType": "ServicePrincipal",  # without it Azure looks a new principal up, and does not find it
            "description": DESCRIPTION.format(wanted.endpoint),
        }
        try:
            self._session.authorization.role_assignments.create(wanted.scope, wanted.name, {"properties": properties})
        except HttpResponseError as error:
            if EXISTS not in said(error).codes:
                raise

    def _sources(self) -> list[tuple[str, str]]:
        """Where the image and the model come from."""
        details = self._session.details()
        found = [(details.container_registry, IMAGE_READER), (details.storage_account, BLOB_READER)]
        return [(scope, role) for scope, role in found if scope]


def _same(found: Any, wanted: RoleAssignment) -> bool:
    """Whether an assignment, at this scope or above it, is the wanted right."""
    same_role = str(found.role_definition_id).lower().endswith(wanted.role_id)
    above = wanted.scope.lower().startswith(str(found.scope or "").rstrip("/").lower())
    return same_role and above and str(found.principal_id).lower() == wanted.principal_id.lower()


def _name(scope: str, principal: str, role: str) -> str:
    """The same right always has the same name, so that writing it twice is writing it once."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope.lower()}|{principal}|{role}"))


def _last(scope: str) -> str:
    return scope.rsplit("/", 1)[-1]
