"""Datastores: names for containers of blob storage, and the way to their secrets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..arm_ids import ArmId
from ..blob import BlobStorage
from ..kinds import Kind, Put, Resource
from ..wire import Refused, Request, Response
from . import types

if TYPE_CHECKING:
    from ..cloud import Cloud

DEFAULT = "workspaceblobstore"


def install(cloud: Cloud) -> None:
    """Teach the store the type."""
    stores = Datastores(cloud)
    kind = Kind(check_put=stores.check_put, listed=stores.listed, actions={"listsecrets": stores.list_secrets})
    cloud.arm.kind(types.DATASTORE, kind)


def seed_datastores(cloud: Cloud, workspace: str, container: str) -> None:
    """The two that every workspace has; both lead to its container."""
    for name in (DEFAULT, "workspaceartifactstore"):
        body = {"properties": _properties(cloud.of(BlobStorage).account, container, default=name == DEFAULT)}
        cloud.arm.seed(f"{workspace}/datastores/{name}", body)


def _properties(account: str, container: str, *, default: bool) -> dict[str, Any]:
    return {
        "description": None,
        "tags": {},
        "properties": {},
        "isDefault": default,
        "credentials": {"credentialsType": "AccountKey"},
        "datastoreType": "AzureBlob",
        "accountName": account,
        "containerName": container,
        "endpoint": "core.windows.net",
        "protocol": "https",
        "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity",
    }


class Datastores:
    """Blob datastores of the one account."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def check_put(self, put: Put) -> None:
        """Keep the secrets apart from what is shown."""
        asked = types.properties(put.body)
        if asked.get("datastoreType") != "AzureBlob":
            raise Refused(400, "UserError", f"Datastores of type {asked.get('datastoreType')} are not emulated.")
        types.stamp(self._cloud, put)
        credentials = dict(asked.get("credentials") or {"credentialsType": "None"})
        credentials.pop("secrets", None)
        asked.update(credentials=credentials, isDefault=False)

    def listed(self, request: Request, id_: ArmId) -> Iterable[Resource]:
        """All, or the default one."""
        parent = id_.parent.path if id_.parent else ""
        only_default = request.query.get("isDefault", "").lower() == "true"
        for each in self._cloud.arm.below(parent, types.DATASTORE):
            if each.properties["isDefault"] or not only_default:
                yield each

    async def list_secrets(self, request: Request, resource: Resource) -> Response:
        """A token that expires to those who ask for one, else the account's key."""
        storage, container = self._cloud.of(BlobStorage), resource.properties["containerName"]
        if resource.properties["credentials"]["credentialsType"] == "None":
            raise Refused(400, "UserError", f"No secrets for credentials of type None, datastore {resource.id.name}.")
        await storage.ready(container)
        if (request.json() or {}).get("expirableSecret"):
            return Response(200, {"secretsType": "Sas", "sasToken": storage.sas(container)})
        return Response(200, {"secretsType": "AccountKey", "key": storage.key})
