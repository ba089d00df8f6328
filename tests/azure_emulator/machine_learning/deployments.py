"""Online deployments: checked, started as a container when their time is up, removed only without traffic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..arm_ids import ArmId
from ..container_logs import ContainerLogs
from ..containers import Container, Containers, Order
from ..kinds import Body, Kind, Put, Resource
from ..operations import FAILED, SUCCEEDED
from ..wire import Refused, Request, Response
from . import types
from .endpoints import NAME

if TYPE_CHECKING:
    from ..cloud import Cloud

INSTANCE_TYPE = re.compile(r"^Standard_[A-Z]+\d+[a-z]*(?:-\d+)?[a-z]*(?:_[A-Z0-9]+)*(?:_v\d+)?$", re.IGNORECASE)
PROBE = {
    "failureThreshold": 30,
    "successThreshold": 1,
    "timeout": "PT2S",
    "period": "PT10S",
    "initialDelay": "PT10S",
}
REQUESTS = {"maxConcurrentRequestsPerInstance": 1, "requestTimeout": "PT5S", "maxQueueWait": "PT0.5S"}
LOG_LINES = 100


def install(cloud: Cloud) -> None:
    """Teach the store the type."""
    deployments = Deployments(cloud)
    kind = Kind(
        async_=True,
        check_put=deployments.check_put,
        settled=deployments.settled,
        check_delete=deployments.check_delete,
        deleted=deployments.deleted,
        shown=deployments.shown,
        actions={"getlogs": deployments.get_logs},
    )
    cloud.arm.kind(types.DEPLOYMENT, kind)


def container_of(deployment: Resource) -> Container | None:
    """What answers for a deployment, if anything does."""
    return deployment.data.get("container")


class Deployments:
    """The deployments of all endpoints."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def check_put(self, put: Put) -> None:
        """Whether the endpoint is idle, and model, environment and machine are there to be had."""
        endpoint = await self._endpoint(put.id)
        if endpoint.state != SUCCEEDED:
            where = f"in endpoint {endpoint.id.name} because it is in {endpoint.state} provisioning state."
            raise Refused(409, "Conflict", f"Cannot {'update' if put.existing else 'create'} a deployment {where}")
        if not NAME.match(put.id.name):
            raise Refused(400, "ValidationError", f"The deployment name '{put.id.name}' is not valid.")
        asked = types.properties(put.body)
        self._check_assets(asked)
        self._check_machine(put, asked)
        put.body["properties"] = filled(asked)
        types.stamp(self._cloud, put)

    async def _endpoint(self, id_: ArmId) -> Resource:
        parent = id_.parent
        found = self._cloud.arm.peek(parent.path) if parent else None
        if found is None:
            raise Refused(404, "ParentResourceNotFound", f"The endpoint of deployment '{id_.name}' was not found.")
        await self._cloud.arm.settle(found)
        return found

    def _check_assets(self, asked: Body) -> None:
        for name, what in (("model", "model"), ("environmentId", "environment")):
            path = str(asked.get(name) or "")
            if not path:
                raise Refused(400, "ValidationError", f"A deployment needs the property '{name}'.")
            if self._cloud.arm.peek(path) is None:
                raise Refused(404, "NotFound", f"The specified {what} '{path}' was not found.")

    def _check_machine(self, put: Put, asked: Body) -> None:
        size, count = str(asked.get("instanceType") or ""), (put.body.get("sku") or {}).get("capacity")
        if asked.get("endpointComputeType") != "Managed":
            raise Refused(400, "ValidationError", "Only deployments of the compute type Managed are emulated.")
        if not INSTANCE_TYPE.match(size):
            raise Refused(400, "BadRequest", f"The instance type '{size}' is not supported.")
        if not isinstance(count, int) or count < 1:
            raise Refused(400, "BadRequest", "The instance count of a managed online deployment must be 1 or more.")
        if put.existing and put.existing.properties["instanceType"] != size:
            raise Refused(400, "BadRequest", "The instance type of a deployment cannot be changed.")

    async def settled(self, resource: Resource) -> None:
        """Start what was ordered; what served before goes when it answers. Raises `Refused` if it does not."""
        logs = resource.data["logs"] = ContainerLogs(self._cloud.clock.now)
        container = await self._cloud.of(Containers).start(self._order(resource), logs)
        before, resource.data["container"] = container_of(resource), container
        if before:
            before.end()

    def _order(self, resource: Resource) -> Order:
        endpoint = self._cloud.arm.peek(resource.id.path.rpartition("/deployments/")[0])
        asked = resource.properties
        model, environment = self._cloud.arm.peek(asked["model"]), self._cloud.arm.peek(asked["environmentId"])
        if endpoint is None or model is None or environment is None:
            raise Refused(400, "", "ResourceNotFound: endpoint, model or environment were removed meanwhile.")
        return Order(resource.id, endpoint.data["principals"][0], model, environment, asked)

    async def check_delete(self, request: Request, resource: Resource) -> None:
        """Nothing that gets requests is removed."""
        endpoint = await self._endpoint(resource.id)
        shares = [endpoint.properties[name].get(resource.id.name, 0) for name in ("traffic", "mirrorTraffic")]
        if any(shares):
            has = f"Deployment '{resource.id.name}' has {max(shares)}% of the traffic of endpoint '{endpoint.id.name}'"
            raise Refused(400, "BadRequest", f"{has}. Set its traffic to 0 before deleting it.")
        if endpoint.state not in {SUCCEEDED, FAILED}:
            where = f"in endpoint {endpoint.id.name} because it is in {endpoint.state} provisioning state."
            raise Refused(409, "Conflict", f"Cannot delete a deployment {where}")

    async def deleted(self, resource: Resource) -> None:
        """Its container ends, and its name leaves the traffic map."""
        container = container_of(resource)
        if container:
            container.end()
        endpoint = self._cloud.arm.peek(resource.id.path.rpartition("/deployments/")[0])
        if endpoint:
            endpoint.properties["traffic"].pop(resource.id.name, None)

    def shown(self, resource: Resource, body: Body) -> None:
        """The latest operation, which alone says why it failed."""
        if resource.operation:
            properties = types.properties(body)
            told = {"AzureAsyncOperationUri": resource.operation.url("Azure-AsyncOperation")}
            properties["properties"] = {**(properties.get("properties") or {}), **told}

    async def get_logs(self, request: Request, resource: Resource) -> Response:
        """The last lines of one of its two containers."""
        asked: dict[str, Any] = request.json() or {}
        lines = int(asked.get("tail") or LOG_LINES)
        which = str(asked.get("containerType") or "InferenceServer")
        logs = resource.data.get("logs")
        return Response(200, {"content": logs.text(which, lines) if logs else ""})


def filled(asked: Body) -> Body:
    """The properties with the defaults that the service adds."""
    return {
        "scaleSettings": {"scaleType": "Default"},
        "appInsightsEnabled": False,
        "egressPublicNetworkAccess": "Enabled",
        **{name: value for name, value in asked.items() if value is not None},
        "requestSettings": {**REQUESTS, **(asked.get("requestSettings") or {})},
        "livenessProbe": {**PROBE, **(asked.get("livenessProbe") or {})},
        "readinessProbe": {**PROBE, **(asked.get("readinessProbe") or {})},
        "environmentVariables": asked.get("environmentVariables") or {},
        "properties": asked.get("properties") or {},
    }
