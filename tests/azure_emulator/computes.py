"""Compute instances of a workspace: created by the clock, removed only with `underlyingResourceAction`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .kinds import Kind, Put, Resource
from .operations import COMPUTES, CREATING, DELETING, FAILED, SUCCEEDED, UPDATING
from .wire import Refused

if TYPE_CHECKING:
    from .cloud import Cloud

COMPUTE_TYPE = "Microsoft.MachineLearningServices/workspaces/computes"
_NAME = re.compile(r"^[a-zA-Z](?!.*-[^a-zA-Z]*$)[a-zA-Z0-9-]{2,23}$")
_STATES = {CREATING: None, UPDATING: "Running", SUCCEEDED: "Running", FAILED: "CreateFailed", DELETING: "Deleting"}


def install(cloud: Cloud) -> None:
    """Teach the store the type."""
    needs = {"DELETE": ("underlyingResourceAction",)}
    cloud.arm.kind(COMPUTE_TYPE, Kind(async_=True, lro=COMPUTES, check_put=_check_put, shown=_shown, needs=needs))


async def _check_put(put: Put) -> None:
    if not _NAME.match(put.id.name):
        text = f"The specified compute name {put.id.name} is not valid: 3 to 24 letters, digits and hyphens, a letter behind each hyphen."
        raise Refused(400, "InvalidComputeName", text)
    asked = put.body.get("properties") or {}
    if asked.get("computeType") == "ComputeInstance" and not (asked.get("properties") or {}).get("vmSize"):
        raise Refused(400, "BadRequest", "The VM size of a compute instance is required.")


def _shown(resource: Resource, body: dict[str, Any]) -> None:
    """The state of the instance, beside that of its provisioning; a failed one says why."""
    properties = body["properties"]
    if properties.get("computeType") == "ComputeInstance":
        properties.setdefault("properties", {})["state"] = _STATES[resource.state]
    failure = resource.operation.error if resource.operation else None
    if failure:
        properties["provisioningErrors"] = [{"error": failure}]
