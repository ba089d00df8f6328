"""Where the address of an asset leads: which container, which path in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .arm_ids import ArmId
from .blob import SUFFIX, BlobStorage

if TYPE_CHECKING:
    from .cloud import Cloud

_LONG = re.compile(
    r"^azureml://subscriptions/(?P<subscription>[^/]+)/resourcegroups/(?P<group>[^/]+)(?:/providers/[^/]+)?"
    r"/workspaces/(?P<workspace>[^/]+)/datastores/(?P<datastore>[^/]+)/paths/(?P<path>.+)$",
    re.IGNORECASE,
)
_WORKSPACE = re.compile(r".*?/workspaces/[^/]+", re.IGNORECASE)
_SHORT = re.compile(r"^azureml://datastores/(?P<datastore>[^/]+)/paths/(?P<path>.+)$", re.IGNORECASE)
_BLOB = re.compile(rf"^https://(?P<account>[^./]+)\.{re.escape(SUFFIX)}/(?P<container>[^/]+)/(?P<path>.+)$")


@dataclass(frozen=True, slots=True)
class StoragePath:
    """A file or folder in a container of the account."""

    container: str
    path: str


def find(cloud: Cloud, uri: str, asset: ArmId) -> StoragePath | None:
    """The place that an address in an asset means; None if there is no such store."""
    if found := _BLOB.match(uri):
        ours = found["account"] == cloud.of(BlobStorage).account
        return StoragePath(found["container"], _path(found)) if ours else None
    if found := _LONG.match(uri):
        group = f"/subscriptions/{found['subscription']}/resourceGroups/{found['group']}"
        workspace = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{found['workspace']}"
    else:
        found = _SHORT.match(uri)
        inside = _WORKSPACE.match(asset.path)
        workspace = inside[0] if inside else ""
    datastore = cloud.arm.peek(f"{workspace}/datastores/{found['datastore']}") if found else None
    if found is None or datastore is None:
        return None
    return StoragePath(datastore.properties["containerName"], _path(found))


def _path(found: re.Match[str]) -> str:
    return unquote(found["path"].partition("?")[0]).strip("/")
