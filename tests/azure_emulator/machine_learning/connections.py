"""Connections: addresses and keys of other services; the keys only to those whose role allows it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .. import identities
from ..arm_ids import ArmId
from ..directory import Principal
from ..kinds import Kind, Put, Resource
from ..wire import Refused, Request, Response
from . import types

if TYPE_CHECKING:
    from ..cloud import Cloud

ACTION = f"{types.CONNECTION}/listsecrets/action"
# Those of Azure's own roles that contain the action.
ROLES = (
    "ea01e6af-a1c1-4350-9563-ad00f8c72ec5",  # Azure Machine Learning Workspace Connection Secrets Reader
    "f6c7c914-8db3-469d-8ca1-694a8f32e121",  # AzureML Data Scientist
    "b24988ac-6180-42a0-ab88-20f7382dd24c",  # Contributor
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",  # Owner
)

# Some clients write them in another case; the service answers with its own.
CATEGORIES = ("AzureOpenAI", "OpenAI", "AIServices", "CustomKeys", "ApiKey", "Serverless", "CognitiveSearch", "Serp")
_CATEGORY = {name.lower(): name for name in CATEGORIES}


def install(cloud: Cloud) -> None:
    """Teach the store the type."""
    connections = Connections(cloud)
    kind = Kind(
        check_put=connections.check_put,
        listed=connections.listed,
        actions={"listsecrets": connections.list_secrets},
        created=200,
    )
    cloud.arm.kind(types.CONNECTION, kind)


def secrets_of(resource: Resource) -> dict[str, Any]:
    """The credentials of a connection; empty if it has none."""
    found: dict[str, Any] = resource.data.get("credentials") or {}
    return found


class Connections:
    """The connections of all workspaces."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def check_put(self, put: Put) -> None:
        """Keep the secrets apart from what is shown; who leaves them out keeps the old ones."""
        asked = types.properties(put.body)
        for name in ("category", "authType", "target"):
            if not asked.get(name) and not (name == "target" and asked.get("category") in {"OpenAI", "Serp"}):
                raise Refused(400, "ValidationError", f"The property '{name}' of a connection is required.")
        types.stamp(self._cloud, put)
        credentials = asked.pop("credentials", None)
        if credentials:
            put.data["credentials"] = copy.deepcopy(credentials)
        asked["category"] = _CATEGORY.get(str(asked["category"]).lower(), asked["category"])
        asked["metadata"] = {name: value for name, value in (asked.get("metadata") or {}).items() if value is not None}
        asked.setdefault("isSharedToAll", False)

    def listed(self, request: Request, id_: ArmId) -> Iterable[Resource]:
        """All, or those of one category or target."""
        parent = id_.parent.path if id_.parent else ""
        for each in self._cloud.arm.below(parent, types.CONNECTION):
            wanted = (request.query.get(name) in {None, each.properties.get(name)} for name in ("category", "target"))
            if all(wanted):
                yield each

    async def list_secrets(self, request: Request, resource: Resource) -> Response:
        """The connection with its secrets."""
        token = self._cloud.directory.token_of(request.headers)
        if token is not None:
            self._check_role(token.principal, types.workspace_of(resource.id.path))
        body = self._cloud.arm.shown(resource)
        if secrets_of(resource):
            body["properties"]["credentials"] = copy.deepcopy(secrets_of(resource))
        return Response(200, body)

    def _check_role(self, principal: Principal, workspace: str) -> None:
        """A managed identity needs a role that has reached the service; applications of the tenant are its operators."""
        if principal.client_id in self._cloud.directory.applications:
            return
        if not any(identities.granted(self._cloud, principal.object_id, role, workspace) for role in ROLES):
            raise Refused(
                403,
                "AuthorizationFailed",
                f"The client '{principal.client_id}' with object id '{principal.object_id}' does not have authorization "
                f"to perform action '{ACTION}' over scope '{workspace}' or the scope is invalid. If access was recently "
                "granted, please refresh your credentials.",
            )
