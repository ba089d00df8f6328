"""Real clients for the emulated cloud, and the places where tests put their resources."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from azure.identity import ClientSecretCredential
from azure.mgmt.authorization import AuthorizationManagementClient
from azure.mgmt.msi import ManagedServiceIdentityClient
from azure_emulator import Cloud

if TYPE_CHECKING:
    import pytest
from azure.ai.ml import MLClient

SUBSCRIPTION = str(uuid.UUID(int=0x5EED))
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/team"
WORKSPACE_TYPE = "Microsoft.MachineLearningServices/workspaces"
WORKSPACE = f"{GROUP}/providers/{WORKSPACE_TYPE}/studio"
SECRET = "made-up-secret"
FOREIGN = ("AZURE_", "MSI_", "IDENTITY_", "IMDS_", "ALL_PROXY")  # would change how a credential signs in
SCOPE = "https://management.azure.com/.default"


def sign_in(cloud: Cloud) -> ClientSecretCredential:
    """The credential of a new application."""
    application = cloud.directory.register(secret=SECRET)
    return ClientSecretCredential(cloud.directory.tenant, application.principal.client_id, SECRET)


def bearer(cloud: Cloud) -> dict[str, str]:
    """The header of a request that was sent by hand."""
    principal = cloud.directory.principal()
    return {"Authorization": f"Bearer {cloud.directory.issue(principal, 'https://management.azure.com').text}"}


def identities(cloud: Cloud) -> ManagedServiceIdentityClient:
    return ManagedServiceIdentityClient(sign_in(cloud), SUBSCRIPTION)


def roles(cloud: Cloud) -> AuthorizationManagementClient:
    return AuthorizationManagementClient(sign_in(cloud), SUBSCRIPTION)


def studio(cloud: Cloud) -> MLClient:
    from azure.ai.ml import MLClient  # seconds

    return MLClient(sign_in(cloud), SUBSCRIPTION, "team", "studio", enable_telemetry=False)


def lead_to(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the cloud's variables, and take away those that would lead elsewhere."""
    for name in [name for name in os.environ if name.upper().startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    for name, value in cloud.environment().items():
        monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv(name, value)
