"""Online endpoints: a name for the region, an identity, keys, and the traffic map."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from ..arm_ids import ArmId
from ..directory import Principal
from ..entra import IDENTITY_TYPE
from ..kinds import Body, Kind, Put, Resource
from ..wire import Refused, Request, Response
from . import traffic, types

if TYPE_CHECKING:
    from ..cloud import Cloud

NAME = re.compile(r"^[a-zA-Z](?:[-a-zA-Z0-9]{1,30})[a-zA-Z0-9]$")
AUTH_MODES = ("Key", "AMLToken", "AADToken")
KEY_NAMES = {"primary": "primaryKey", "secondary": "secondaryKey"}
TOKEN_SECONDS = 12 * 3600


def install(cloud: Cloud) -> None:
    """Teach the store the type."""
    endpoints = Endpoints(cloud)
    actions = {
        "listkeys": endpoints.list_keys,
        "regeneratekeys": endpoints.regenerate_keys,
        "token": endpoints.token,
    }
    kind = Kind(
        async_=True,
        check_put=endpoints.check_put,
        deleted=endpoints.deleted,
        shown=endpoints.shown,
        actions=actions,
    )
    cloud.arm.kind(types.ENDPOINT, kind)


def scoring_host(cloud: Cloud, name: str) -> str:
    """The host name of an endpoint."""
    return f"{name.lower()}.{cloud.region}.inference.ml.azure.com"


class Endpoints:
    """The endpoints of all workspaces."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def check_put(self, put: Put) -> None:
        """Name, authentication, identity and traffic. A PATCH changes tags and identity only."""
        if put.request.method == "PATCH" and put.existing:
            put.body["properties"] = put.existing.properties
        asked = types.properties(put.body)
        self._check_name(put.id)
        if asked.get("authMode") not in AUTH_MODES:
            raise Refused(400, "ValidationError", f"The authentication mode '{asked.get('authMode')}' is not valid.")
        if "location" not in put.body:
            raise Refused(400, "LocationRequired", "The location property is required for this definition.")
        await self._check_traffic(put.id, asked)
        put.body["identity"] = self._identity(put)
        put.data.setdefault("keys", {name: secrets.token_urlsafe(32) for name in KEY_NAMES.values()})
        put.data.setdefault("tokens", {})
        types.stamp(self._cloud, put)
        put.body.setdefault("kind", "Managed")
        asked.setdefault("publicNetworkAccess", "Enabled")
        asked.pop("keys", None)

    def _check_name(self, id_: ArmId) -> None:
        if not NAME.match(id_.name):
            text = "Endpoint names must be 3 to 32 characters: letters, digits and '-', the first a letter, the last no '-'."
            raise Refused(400, "ValidationError", f"The endpoint name '{id_.name}' is not valid. {text}")
        for other in self._cloud.arm.below("", types.ENDPOINT):
            if other.id.name.lower() == id_.name.lower() and other.id.key != id_.key:
                taken = f"The specified endpoint name '{id_.name}' is not available."
                raise Refused(400, "UserError", f"{taken} Endpoint names must be unique within the region.")

    async def _check_traffic(self, id_: ArmId, asked: Body) -> None:
        asked["traffic"], asked["mirrorTraffic"] = asked.get("traffic") or {}, asked.get("mirrorTraffic") or {}
        states = {}
        for deployment in self._cloud.arm.below(id_.path, types.DEPLOYMENT):
            await self._cloud.arm.settle(deployment)
            states[deployment.id.name] = deployment.state
        problem = traffic.objection(asked["traffic"], asked["mirrorTraffic"], states)
        if problem:
            raise Refused(400, "BadRequest", problem)

    def _identity(self, put: Put) -> Body:
        """The identity as it will be shown; `principals` in the data are those that the containers act as."""
        asked = put.body.get("identity") or {"type": "SystemAssigned"}
        kind = str(asked.get("type", ""))
        known = [self._user_assigned(path) for path in asked.get("userAssignedIdentities") or {}]
        if kind not in {"SystemAssigned", "UserAssigned"} or (kind == "UserAssigned") != bool(known):
            raise Refused(400, "ValidationError", f"The identity of type '{kind}' is not valid.")
        if kind == "UserAssigned":
            put.data["principals"] = [principal for _, _, principal in known]
            shown = {path: {"principalId": p.object_id, "clientId": p.client_id} for path, _, p in known}
            return {"type": kind, "userAssignedIdentities": shown}
        own = put.data.setdefault("own", None) or self._cloud.directory.principal(put.id.name)
        put.data.update(own=own, principals=[own])
        return {"type": kind, "principalId": own.object_id, "tenantId": self._cloud.directory.tenant}

    def _user_assigned(self, path: str) -> tuple[str, Resource, Principal]:
        found = self._cloud.arm.peek(path)
        if found is None or found.id.type.lower() != IDENTITY_TYPE.lower():
            raise Refused(400, "FailedIdentityOperation", f"The identity '{path}' does not exist.")
        return path, found, self._cloud.directory.principals[found.properties["principalId"]]

    def shown(self, resource: Resource, body: Body) -> None:
        """Its addresses, and the operation under way."""
        address = f"https://{scoring_host(self._cloud, resource.id.name)}"
        properties = types.properties(body)
        properties.update(scoringUri=f"{address}/score", swaggerUri=f"{address}/swagger.json")
        more = {"azureml.onlineendpointid": resource.id.key}
        if resource.operation:
            more["AzureAsyncOperationUri"] = resource.operation.url("Azure-AsyncOperation")
        properties["properties"] = {**(properties.get("properties") or {}), **more}

    async def deleted(self, resource: Resource) -> None:
        """Its own identity goes with it."""
        own = resource.data.get("own")
        if own:
            self._cloud.directory.remove(own.object_id)

    async def list_keys(self, request: Request, resource: Resource) -> Response:
        """Both keys."""
        if resource.properties["authMode"] != "Key":
            raise Refused(400, "BadRequest", f"Endpoint {resource.id.name} does not use keys for authentication.")
        return Response(200, dict(resource.data["keys"]))

    async def regenerate_keys(self, request: Request, resource: Resource) -> Response:
        """A new key, the given or a random one, in place of the old."""
        asked = request.json() or {}
        name = KEY_NAMES.get(str(asked.get("keyType", "")).lower())
        if name is None:
            raise Refused(400, "ValidationError", f"The key type '{asked.get('keyType')}' is not valid.")
        resource.data["keys"] = {**resource.data["keys"], name: asked.get("keyValue") or secrets.token_urlsafe(32)}
        return Response(200)

    async def token(self, request: Request, resource: Resource) -> Response:
        """A token for those endpoints that want one."""
        if resource.properties["authMode"] != "AMLToken":
            raise Refused(400, "BadRequest", f"Endpoint {resource.id.name} does not use Azure ML tokens.")
        now, text = int(self._cloud.clock.now()), secrets.token_urlsafe(48)
        resource.data["tokens"][text] = now + TOKEN_SECONDS
        answer: dict[str, Any] = {"accessToken": text, "tokenType": "Bearer"}
        return Response(
            200, {**answer, "expiryTimeUtc": now + TOKEN_SECONDS, "refreshAfterTimeUtc": now + TOKEN_SECONDS // 2}
        )
