"""Models, environments and code: versions whose content never changes, in containers that they bring along."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..arm_ids import ArmId
from ..kinds import Body, Kind, Put, Resource
from ..wire import Refused, Request
from . import types
from .uploads import CodeSearch, Uploads

if TYPE_CHECKING:
    from ..cloud import Cloud

MANAGEMENT = "management.azure.com"
_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,254}$")
_VERSION = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9\-_.]{0,29}$|^[0-9a-f-]{36}$|^[0-9a-f]{32,64}$")


@dataclass(frozen=True, slots=True)
class AssetKind:
    """One kind of asset. `fixed`: the properties that make its content; `defaults`: what a version has anyway."""

    plural: str
    singular: str
    fixed: tuple[str, ...]
    required: tuple[str, ...]
    defaults: dict[str, Any]
    refusal: str

    @property
    def container_type(self) -> str:
        """The resource type of its containers."""
        return f"{types.WORKSPACE}/{self.plural}"

    @property
    def version_type(self) -> str:
        """The resource type of its versions."""
        return f"{self.container_type}/versions"


PATHS = "Asset paths cannot be updated."
MODEL = AssetKind(
    "models", "Model", ("modelUri", "modelType"), ("modelUri",), {"flavors": {}, "modelType": "custom_model"}, PATHS
)
CODE = AssetKind("codes", "Code", ("codeUri",), ("codeUri",), {}, PATHS)
ENVIRONMENT = AssetKind(
    "environments",
    "Environment",
    ("image", "build", "condaFile", "inferenceConfig", "osType"),
    (),
    {"environmentType": "UserCreated", "osType": "Linux"},
    "Environment version is already registered and cannot be changed.",
)


def install(cloud: Cloud) -> None:
    """Teach the store containers and versions of all three."""
    for asset in (MODEL, ENVIRONMENT, CODE):
        versions = Versions(cloud, asset)
        cloud.arm.kind(asset.container_type, Kind(implicit=True, shown=versions.container_shown))
        kind = Kind(check_put=versions.check_put, settled=versions.settled, listed=versions.listed)
        cloud.arm.kind(asset.version_type, kind)
    cloud.route(re.escape(MANAGEMENT), Uploads(cloud).handle)
    cloud.route(re.escape(MANAGEMENT), CodeSearch(cloud).handle)


class Versions:
    """The versions of one kind of asset."""

    def __init__(self, cloud: Cloud, asset: AssetKind) -> None:
        self._cloud, self._asset = cloud, asset

    async def check_put(self, put: Put) -> None:
        """Names, required properties, and that a version keeps its content; tags and the like may change."""
        self._check_names(put.id)
        asked = types.properties(put.body)
        for name in self._asset.required:
            if not asked.get(name):
                raise Refused(400, "ValidationError", f"The property '{name}' is required.")
        if self._asset is ENVIRONMENT and bool(asked.get("image")) == bool(asked.get("build")):
            raise Refused(400, "ValidationError", "An environment needs either an image or a build context.")
        put.body["properties"] = asked = {**self._asset.defaults, **asked}
        if put.existing:
            self._check_same(put, put.existing)
        types.stamp(self._cloud, put)
        asked.update(provisioningState="Succeeded")
        asked.setdefault("isArchived", False)
        asked.setdefault("isAnonymous", False)

    def _check_names(self, id_: ArmId) -> None:
        name, version = id_.segments[-3], id_.segments[-1]
        if not _NAME.match(name) or not _VERSION.match(version):
            raise Refused(400, "ValidationError", f"'{name}' with version '{version}' is no valid name of an asset.")

    def _check_same(self, put: Put, existing: Resource) -> None:
        asked, known = put.body["properties"], existing.properties
        if any(_normal(asked.get(name)) != _normal(known.get(name)) for name in self._asset.fixed):
            raise Refused(409, "UserError", self._asset.refusal)

    async def settled(self, resource: Resource) -> None:
        """The container comes with the first version."""
        parent = resource.id.parent
        assert parent is not None
        if self._cloud.arm.peek(parent.path) is None:
            body = {"properties": {"tags": {}, "isArchived": False}, "systemData": resource.body["systemData"]}
            container = self._cloud.arm.seed(parent.path, body)
            container.created = resource.created

    def container_shown(self, resource: Resource, body: Body) -> None:
        """The latest version, and what the next would be called by number."""
        versions = self._cloud.arm.below(resource.id.path, self._asset.version_type)
        numbers = [int(each.id.name) for each in versions if each.id.name.isdigit()]
        body["properties"]["nextVersion"] = str(max(numbers, default=0) + 1)
        body["properties"]["latestVersion"] = versions[-1].id.name if versions else None
        body["properties"]["provisioningState"] = "Succeeded"

    def listed(self, request: Request, id_: ArmId) -> Iterable[Resource]:
        """Those that are not archived, unless asked for; with the asked tags."""
        parent = id_.parent.path if id_.parent else ""
        view = request.query.get("listViewType", request.query.get("$listViewType", "ActiveOnly"))
        for each in self._cloud.arm.below(parent, self._asset.version_type):
            archived = bool(each.properties.get("isArchived"))
            if (view == "All" or archived == (view == "ArchivedOnly")) and _has(each, request.query):
                yield each


def _normal(value: Any) -> Any:
    """Without differences that mean nothing: a trailing slash, the case of a group's segment."""
    return (
        re.sub("resourcegroups", "resourceGroups", value.rstrip("/"), flags=re.IGNORECASE)
        if isinstance(value, str)
        else value
    )


def _has(version: Resource, query: Mapping[str, str]) -> bool:
    """Whether it has the tags (`a=1,b`) that a list asks for."""
    tags = version.properties.get("tags") or {}
    for wanted in filter(None, query.get("tags", "").split(",")):
        name, given, value = wanted.partition("=")
        if name not in tags or (given and str(tags[name]) != value):
            return False
    return True
