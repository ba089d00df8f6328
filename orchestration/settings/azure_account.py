"""The workspace and the identity of an environment with its references resolved. Nothing here calls Azure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestration.errors import ConfigurationError, Place
from orchestration.references import Blocks, Reference, Secret, resolve
from orchestration.settings.azure import AzureCredential, AzureSettings
from orchestration.settings.model import Settings
from orchestration.validation import GUID, PATTERNS

BLOCK = "azureml-credentials"  # of prefect-azure
# What an identity needs besides its kind; a block has all of it.
FIELDS = {"tenant_id": "tenant_id", "client_id": "service_principal_id", "client_secret": "service_principal_password"}


@dataclass(frozen=True, slots=True)
class WorkspaceId:
    """An Azure Machine Learning workspace by its names."""

    subscription_id: str
    resource_group: str
    workspace: str

    @property
    def arm_id(self) -> str:
        """The ID by which Azure Resource Manager knows it."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace}"
        )


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who signs in: `kind` as azure-identity has it (a block is a `client_secret`), and what that kind needs."""

    kind: str
    tenant_id: str = ""
    client_id: str = ""
    client_secret: Secret | None = field(default=None, repr=False)
    certificate: Path | None = None


def azure_section(settings: Settings) -> AzureSettings:
    """The section `azure`. Raises `ConfigurationError` if there is none."""
    if settings.azure is None:
        raise ConfigurationError(
            f"{settings.environment} names no Azure Machine Learning workspace.",
            at=settings.at("platform"),
            cure="Add the section azure: see docs/azure-setup.md.",
        )
    return settings.azure


def workspace_id(
    settings: Settings, *, env: Mapping[str, str] | None = None, blocks: Blocks | None = None
) -> WorkspaceId:
    """The environment's workspace. Raises `ConfigurationError` for a subscription that can't be resolved or is no ID."""
    azure, at = azure_section(settings), settings.at("azure", "subscription_id")
    found = _text(settings, azure.subscription_id, at, env, blocks)
    if not re.fullmatch(GUID, found):  # not repeated: a reference may point at a key by mistake
        raise ConfigurationError(f"is not {PATTERNS[GUID]}.", at=at, cure="Next: az account show --query id")
    return WorkspaceId(found.lower(), azure.resource_group, azure.workspace)


def sign_in(settings: Settings, *, env: Mapping[str, str] | None = None, blocks: Blocks | None = None) -> SignIn:
    """Who signs in. Raises `ConfigurationError` for a part that can't be resolved, or a certificate that isn't there."""
    credential = azure_section(settings).credential
    parts: dict[str, str] = {}
    for name in FIELDS:
        value, at = _part(credential, name), settings.at("azure", "credential", name)
        if value is not None:
            parts[name] = _text(settings, value, at, env, blocks)
    secret = parts.pop("client_secret", "")
    kind = "client_secret" if credential.kind == "block" else credential.kind
    return SignIn(kind, **parts, client_secret=Secret(secret) if secret else None, certificate=_file(settings))


def _part(credential: AzureCredential, name: str) -> str | Reference | None:
    """What the settings say of one part of the identity; in a block all of them stand."""
    if credential.kind == "block":
        return Reference(block=f"{BLOCK}/{credential.name}/{FIELDS[name]}")
    value: str | Reference | None = getattr(credential, name)
    return value


def _text(
    settings: Settings, value: str | Reference, at: Place, env: Mapping[str, str] | None, blocks: Blocks | None
) -> str:
    if isinstance(value, str):
        return value
    return resolve(value, root=settings.root, env=env, blocks=blocks, at=at).reveal()


def _file(settings: Settings) -> Path | None:
    name = azure_section(settings).credential.certificate
    if name is None:
        return None
    path = settings.root / Path(name).expanduser()
    if not path.is_file():
        raise ConfigurationError(
            f"there is no file {name}.",
            at=settings.at("azure", "credential", "certificate"),
            cure="Write the path of the PEM or PKCS12 file, from the project's folder or absolute.",
        )
    return path
