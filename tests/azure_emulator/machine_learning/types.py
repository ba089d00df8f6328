"""The names of Azure Machine Learning's resource types, and what all of its resources have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..kinds import Body, Put
from ..operations import timestamp

if TYPE_CHECKING:
    from ..cloud import Cloud

WORKSPACE = "Microsoft.MachineLearningServices/workspaces"
CONNECTION = f"{WORKSPACE}/connections"
DATASTORE = f"{WORKSPACE}/datastores"
ENDPOINT = f"{WORKSPACE}/onlineEndpoints"
DEPLOYMENT = f"{ENDPOINT}/deployments"
_WORKSPACE = re.compile(r".*?/workspaces/[^/]+", re.IGNORECASE)


def workspace_of(path: str) -> str:
    """The ARM id of the workspace that a path lies in. Raises `ValueError` outside one."""
    found = _WORKSPACE.match(path)
    if not found:
        raise ValueError(f"{path} lies in no workspace")
    return found[0]


def stamp(cloud: Cloud, put: Put) -> None:
    """Say who wrote the resource, and when; what the client said of that is not heard."""
    token = cloud.directory.token_of(put.request.headers)
    now, by = timestamp(cloud.clock.now()), token.principal.object_id if token else "unknown"
    before: Body = put.existing.body.get("systemData", {}) if put.existing else {}
    put.body["systemData"] = {
        "createdAt": before.get("createdAt", now),
        "createdBy": before.get("createdBy", by),
        "createdByType": "Application",
        "lastModifiedAt": now,
        "lastModifiedBy": by,
        "lastModifiedByType": "Application",
    }


def properties(body: Body) -> dict[str, Any]:
    """The properties of a body, made if there are none."""
    found = body.get("properties")
    if not isinstance(found, dict):
        found = body["properties"] = {}
    return found
