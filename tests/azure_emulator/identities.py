"""User-assigned managed identities and role assignments, with the delays in which Azure learns of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .arm_ids import ArmId
from .entra import IDENTITY_TYPE
from .kinds import Kind, Put, Resource
from .operations import timestamp
from .wire import Refused, Request

if TYPE_CHECKING:
    from .cloud import Cloud

ASSIGNMENT_TYPE = "Microsoft.Authorization/roleAssignments"
_GUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_BY_PRINCIPAL = re.compile(r"^(?:principalId\s+eq|assignedTo\()\s*'(?P<principal>[^']+)'\)?$", re.IGNORECASE)
_ROLE = re.compile(r"/roleDefinitions/(?P<role>[^/]+)$", re.IGNORECASE)


def install(cloud: Cloud) -> None:
    """Teach the store both types."""
    identities, assignments = Identities(cloud), Assignments(cloud)
    cloud.arm.kind(IDENTITY_TYPE, Kind(check_put=identities.check_put, deleted=identities.deleted))
    cloud.arm.kind(
        ASSIGNMENT_TYPE, Kind(check_put=assignments.check_put, listed=assignments.listed, answers_deleted=True)
    )


def granted(cloud: Cloud, principal: str, role: str, scope: str) -> bool:
    """Whether that principal (object id) has that role (its GUID) at that scope, as far as Azure knows by now."""
    known_since = cloud.clock.now() - cloud.scenario.replication_seconds
    return any(
        found["principalId"].lower() == principal.lower()
        and role_of(found["roleDefinitionId"]) == role.lower()
        and each.created <= known_since
        and _covers(each.id.scope, scope)
        for each in cloud.arm.below("", ASSIGNMENT_TYPE)
        if (found := each.properties)
    )


def role_of(definition: str) -> str:
    """The GUID at the end of a role definition's id."""
    return definition.rstrip("/").rsplit("/", 1)[-1].lower()


def _covers(scope: str, below: str) -> bool:
    upper, lower = scope.rstrip("/").lower(), below.rstrip("/").lower()
    return lower == upper or lower.startswith(f"{upper}/")


class Identities:
    """User-assigned managed identities."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def check_put(self, put: Put) -> None:
        """A new one gets a principal; that one stays."""
        if "location" not in put.body:
            raise Refused(400, "LocationRequired", "The location property is required for this definition.")
        if put.existing:
            put.body["properties"] = put.existing.properties
            return
        principal = self._cloud.directory.principal(put.id.name)
        put.body["properties"] = {
            "tenantId": self._cloud.directory.tenant,
            "principalId": principal.object_id,
            "clientId": principal.client_id,
        }

    async def deleted(self, resource: Resource) -> None:
        """Its principal goes with it; role assignments of it remain, as on Azure."""
        self._cloud.directory.remove(resource.properties["principalId"])


class Assignments:
    """Role assignments, at any scope."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def check_put(self, put: Put) -> None:
        """One assignment for each principal, role and scope; none for a principal that is not known yet."""
        asked = put.body.get("properties") or {}
        principal, definition = str(asked.get("principalId", "")), str(asked.get("roleDefinitionId", ""))
        _check_form(put.id, principal, definition)
        self._check_scope(put.id.scope)
        if not asked.get("principalType"):
            self._check_replicated(principal)
        for other in self._cloud.arm.below(put.id.scope, ASSIGNMENT_TYPE):
            _check_other(other, put, principal, definition)
        put.body["properties"] = self._properties(put, asked)

    def _properties(self, put: Put, asked: dict[str, str]) -> dict[str, str | None]:
        now, token = timestamp(self._cloud.clock.now()), self._cloud.directory.token_of(put.request.headers)
        by = token.principal.object_id if token else None
        created = put.existing.properties if put.existing else {"createdOn": now, "createdBy": by}
        return {
            "principalType": "ServicePrincipal",
            "condition": None,
            "conditionVersion": None,
            **asked,
            "scope": put.id.scope or "/",
            "createdOn": created["createdOn"],
            "createdBy": created["createdBy"],
            "updatedOn": now,
            "updatedBy": by,
        }

    def _check_scope(self, scope: str) -> None:
        id_ = ArmId.parse(scope)
        if id_ and id_.is_resource and self._cloud.arm.known(id_) and self._cloud.arm.peek(scope) is None:
            raise Refused(404, "ResourceNotFound", f"The resource '{scope}' was not found.")

    def _check_replicated(self, principal: str) -> None:
        """Azure looks an untyped principal up, where a new one is not known yet."""
        found = self._cloud.directory.principals.get(principal)
        since = self._cloud.clock.now() - self._cloud.scenario.replication_seconds
        if found is None or found.created > since:
            raise principal_not_found(principal, self._cloud.directory.tenant)

    def listed(self, request: Request, id_: ArmId) -> Iterable[Resource]:
        """Assignments at, above and below the scope, as the filter has it."""
        asked = request.query.get("$filter", "").strip()
        by = _BY_PRINCIPAL.match(asked)
        if asked and not by and asked.lower() != "atscope()":
            raise Refused(400, "InvalidFilter", f"The filter '{asked}' is not supported.")
        for each in self._cloud.arm.below("", ASSIGNMENT_TYPE):
            above, below = _covers(each.id.scope, id_.scope), _covers(id_.scope, each.id.scope)
            wanted = above if asked and not by else above or below
            if wanted and (not by or each.properties["principalId"].lower() == by["principal"].lower()):
                yield each


def principal_not_found(principal: str, tenant: str) -> Refused:
    """What Azure says of a principal that has not reached it."""
    return Refused(
        400,
        "PrincipalNotFound",
        f"Principal {principal.replace('-', '')} does not exist in the directory {tenant}. Check that you have the "
        "correct principal ID. If you are creating this principal and then immediately assigning a role, this error "
        "might be related to a replication delay. In this case, set the role assignment principalType property to a "
        "value, such as ServicePrincipal, User, or Group. See https://aka.ms/docs-principaltype",
    )


def _check_form(id_: ArmId, principal: str, definition: str) -> None:
    if not _GUID.match(id_.name):
        raise Refused(
            400, "InvalidRoleAssignmentId", f"The role assignment ID '{id_.name}' is not valid: it must be a GUID."
        )
    if not _GUID.match(principal):
        raise Refused(400, "InvalidPrincipalId", f"A principal ID should be a valid GUID, and '{principal}' is not.")
    if not _ROLE.search(definition):
        raise Refused(400, "BadRequestFormat", f"The role definition ID '{definition}' is not valid.")


def _check_other(other: Resource, put: Put, principal: str, definition: str) -> None:
    """Compare with another assignment below the scope."""
    known = other.properties
    same = (known["principalId"].lower(), role_of(known["roleDefinitionId"])) == (
        principal.lower(),
        role_of(definition),
    )
    if other.id.key == put.id.key:
        if not same:
            text = "Tenant ID, application ID, principal ID, and scope are not allowed to be updated."
            raise Refused(409, "RoleAssignmentUpdateNotPermitted", text)
    elif same and other.id.scope.lower() == put.id.scope.lower():
        raise Refused(409, "RoleAssignmentExists", "The role assignment already exists.")
