"""What somebody may do and how much there is: permissions, sizes of machines, quota and what is used of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .machine_learning import types
from .wire import Request, Response

if TYPE_CHECKING:
    from .cloud import Cloud

HOST = r"management\.azure\.com"
PERMISSIONS = re.compile(
    r"^(?P<scope>/subscriptions/.+/workspaces/[^/]+)/providers/Microsoft\.Authorization/permissions$", re.IGNORECASE
)
LOCATION = re.compile(
    r"^(?P<subscription>/subscriptions/[^/]+)/providers/Microsoft\.MachineLearningServices/locations/(?P<region>[^/]+)"
    r"/(?P<what>vmSizes|usages)$",
    re.IGNORECASE,
)
EVERYTHING: tuple[dict[str, Any], ...] = (
    {"actions": ["*"], "notActions": [], "dataActions": [], "notDataActions": []},
)
# Family, cores, gigabytes of memory.
SIZES = {
    "Standard_DS1_v2": ("standardDSv2Family", 1, 3.5),
    "Standard_DS3_v2": ("standardDSv2Family", 4, 14.0),
    "Standard_DS4_v2": ("standardDSv2Family", 8, 28.0),
    "Standard_F4s_v2": ("standardFSv2Family", 4, 8.0),
}
FAMILIES = {"standardDSv2Family": "Standard DSv2 Family", "standardFSv2Family": "Standard FSv2 Family"}


def install(cloud: Cloud) -> None:
    """Answer before the store of resources does."""
    limits = Limits(cloud)
    cloud.add(limits)
    cloud.route(HOST, limits.handle)


class Limits:
    """By object ID what somebody's roles allow (those who aren't listed: everything); by family how many cores there are.

    `workspace_cores` is a workspace's own part of the quota: by its ID and family.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.permissions: dict[str, list[dict[str, Any]]] = {}
        self.cores = {"standardDSv2Family": 24, "standardFSv2Family": 0}
        self.workspace_cores: dict[tuple[str, str], int] = {}

    async def handle(self, request: Request) -> Response | None:
        """The answer; None for other paths."""
        if request.method != "GET":
            return None
        if PERMISSIONS.match(request.path):
            token = self._cloud.directory.token_of(request.headers)
            who = token.principal.object_id if token else ""
            return Response(200, {"value": [dict(each) for each in self.permissions.get(who, EVERYTHING)]})
        place = LOCATION.match(request.path)
        if place is None:
            return None
        found = _sizes() if place["what"].lower() == "vmsizes" else self._usages(place["subscription"])
        return Response(200, {"value": list(found)})

    def _usages(self, subscription: str) -> Iterator[dict[str, Any]]:
        for family, limit in self.cores.items():
            used = self._used(subscription, family)
            yield _usage(subscription, "vmFamily", family, used, limit)
            for (workspace, of), part in self.workspace_cores.items():
                if of == family and workspace.lower().startswith(subscription.lower()):
                    yield _usage(workspace, "workspaces", family, self._used(workspace, family), part)

    def _used(self, scope: str, family: str) -> int:
        """Cores of the online deployments below a scope."""
        return sum(
            SIZES[size][1] * int((each.body.get("sku") or {}).get("capacity") or 1)
            for each in self._cloud.arm.below(scope, types.DEPLOYMENT)
            if SIZES.get(size := str(each.properties.get("instanceType")), ("",))[0] == family
        )


def _sizes() -> Iterator[dict[str, Any]]:
    for name, (family, cores, memory) in SIZES.items():
        yield {
            "name": name,
            "family": family,
            "vCPUs": cores,
            "gpus": 0,
            "osVhdSizeMB": 1_047_552,
            "maxResourceVolumeMB": 7168 * cores,
            "memoryGB": memory,
            "lowPriorityCapable": True,
            "premiumIO": True,
            "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
        }


def _usage(scope: str, kind: str, family: str, used: int, limit: int) -> dict[str, Any]:
    name = f"{FAMILIES[family]} Cluster Dedicated vCPUs"
    return {
        "id": f"{scope}/usages/{name.replace(' ', '_')}",
        "type": f"Microsoft.MachineLearningServices/{kind}/usages",
        "currentValue": used,
        "limit": limit,
        "name": {"value": name, "localizedValue": name},
        "unit": "Count",
    }
