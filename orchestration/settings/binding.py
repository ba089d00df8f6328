"""Binding a prompt flow's connection names to what they stand for in an environment. No secrets."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from orchestration.errors import ConfigurationError
from orchestration.references import Blocks, Reference, resolve
from orchestration.settings.azure_account import workspace_id
from orchestration.settings.checks import address_problem
from orchestration.settings.model import Connection, Settings
from orchestration.specs import PromptFlowSpec
from orchestration.validation import nearest
from orchestration.values import Binding, Json, sha256

AZURE_API_VERSION = "2024-10-21"
OPENAI_API_BASE = "https://api.openai.com/v1"


def bind(
    settings: Settings, spec: PromptFlowSpec, *, env: Mapping[str, str] | None = None, blocks: Blocks | None = None
) -> Binding:
    """What each connection of the prompt flow is here: kind, address, API version, model; for `custom` its values.

    Rates, prices and keys are left out: they don't change an answer. Raises `ConfigurationError` for a
    connection that the environment doesn't have, or an address that can't be resolved.
    """
    names = sorted(spec.connections)
    connections = {name: describe_connection(settings, name, env=env, blocks=blocks) for name in names}
    return Binding(settings.environment, connections, sha256(connections))


def describe_connection(
    settings: Settings, name: str, *, env: Mapping[str, str] | None = None, blocks: Blocks | None = None
) -> Mapping[str, Json]:
    """One connection as a binding describes it."""
    connection = _connection(settings, name)
    if connection.kind == "custom":
        return {"kind": "custom", "values": dict(connection.values), "secrets": list[Json](sorted(connection.secrets))}
    if connection.kind == "workspace":
        return _in_workspace(settings, connection, env, blocks)
    return {
        "kind": connection.kind,
        "api_base": _address(settings, name, connection, env, blocks),
        "api_version": _version(connection),
        "model_deployment": connection.model_deployment,
    }


def _in_workspace(
    settings: Settings, connection: Connection, env: Mapping[str, str] | None, blocks: Blocks | None
) -> dict[str, Json]:
    """Which connection of which workspace; no ID in clear text, since decisions are shown to people.

    Its address stands in the workspace, and what serves reads it there, so it is no part of what is bound. Answers
    from two addresses are kept apart all the same: `orchestration.connections.answers_hash`.
    """
    workspace = workspace_id(settings, env=env, blocks=blocks)
    return {
        "kind": "workspace",
        "name": connection.name,
        "workspace": f"{workspace.resource_group}/{workspace.workspace}",
        "subscription": sha256(workspace.subscription_id)[:12],
        "model_deployment": connection.model_deployment,
    }


def _version(connection: Connection) -> str | None:
    """What else decides the answer: Azure's API version, or the very code of the embedded model."""
    if connection.kind == "azure_openai":
        return connection.api_version or AZURE_API_VERSION
    return _embedded_model() if connection.kind == "offline" else None


@cache
def _embedded_model() -> str:
    folder = Path(__file__).parents[1] / "embedded_model"  # read, not imported: it stands above the settings
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".txt"))
    return sha256({path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files})[:16]


def _connection(settings: Settings, name: str) -> Connection:
    found = settings.connections.get(name)
    if found is None:
        message = f"the prompt flow needs a connection {name!r}, which {settings.environment} does not have."
        cure = nearest(name, settings.connections) or f"Add connections.{name} to config/base.yaml."
        raise ConfigurationError(message, at=settings.at("connections"), cure=cure)
    return found


def _address(
    settings: Settings, name: str, connection: Connection, env: Mapping[str, str] | None, blocks: Blocks | None
) -> str | None:
    if connection.kind == "offline":
        return None
    base = connection.api_base or OPENAI_API_BASE
    if isinstance(base, Reference):
        at = settings.at("connections", name, "api_base")
        base = resolve(base, root=settings.root, env=env, blocks=blocks, at=at).reveal()
        message = address_problem(base, encrypted=connection.kind == "azure_openai")
        if message:
            raise ConfigurationError(message, at=at)
    return base.rstrip("/")
