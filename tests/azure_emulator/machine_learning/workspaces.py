"""Workspaces: they are there, with what lies in them from the beginning. Nobody makes one by request."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..blob import BlobStorage
from ..kinds import Kind
from . import types
from .datastores import seed_datastores

if TYPE_CHECKING:
    from ..cloud import Cloud


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a workspace is, and the storage container of its files."""

    subscription_id: str
    resource_group: str
    name: str
    region: str
    container: str

    @property
    def id(self) -> str:
        """Its ARM id."""
        group = f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
        return f"{group}/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"


def install(cloud: Cloud) -> None:
    """Teach the store the type."""
    cloud.arm.kind(types.WORKSPACE, Kind())


def add_workspace(
    cloud: Cloud, *, subscription_id: str = "", resource_group: str = "rg", name: str = "workspace"
) -> Workspace:
    """A workspace with its default datastores; by default in a subscription of its own."""
    guid = str(uuid.uuid4())
    workspace = Workspace(
        subscription_id or str(uuid.uuid4()), resource_group, name, cloud.region, f"azureml-blobstore-{guid}"
    )
    cloud.arm.seed(workspace.id, _body(cloud, workspace, guid))
    seed_datastores(cloud, workspace.id, workspace.container)
    return workspace


def _body(cloud: Cloud, workspace: Workspace, guid: str) -> dict[str, Any]:
    group = workspace.id.partition("/providers/")[0]
    account = cloud.of(BlobStorage).account
    identity = cloud.directory.principal(workspace.name)
    plane = f"{cloud.region}.api.azureml.ms"
    return {
        "location": cloud.region,
        "kind": "Default",
        "sku": {"name": "Basic", "tier": "Basic"},
        "tags": {},
        "identity": {"type": "SystemAssigned", "principalId": identity.object_id, "tenantId": cloud.directory.tenant},
        "properties": {
            "friendlyName": workspace.name,
            "description": "",
            "workspaceId": guid,
            "tenantId": cloud.directory.tenant,
            "storageAccount": f"{group}/providers/Microsoft.Storage/storageAccounts/{account}",
            "keyVault": f"{group}/providers/Microsoft.KeyVault/vaults/{workspace.name}",
            "applicationInsights": f"{group}/providers/Microsoft.Insights/components/{workspace.name}",
            "hbiWorkspace": False,
            "publicNetworkAccess": "Enabled",
            "v1LegacyMode": False,
            "provisioningState": "Succeeded",
            "discoveryUrl": f"https://{plane}/discovery",
            "mlFlowTrackingUri": f"azureml://{plane}/mlflow/v1.0{workspace.id}",
        },
    }
