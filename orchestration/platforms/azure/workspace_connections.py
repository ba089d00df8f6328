"""The connections of a workspace: read with their secrets, told apart by what they lead to, made and rotated.

`understand` and the runner's `sluice_runner.azure.connections` take the same connection for the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

from orchestration.errors import ConfigurationError, ResourceNotFound
from orchestration.model_proxy.upstream import Kind
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.workspace import Session
from orchestration.settings.checks import is_loopback
from orchestration.values import Json

API: Final = "2024-10-01"
OPENAI: Final = "https://api.openai.com/v1"
FLOW_PREFIX: Final = "azureml.flow."  # metadata that the studio's own prompt flow pages write
AZURE_HOSTS: Final = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
CATEGORIES: Final[Mapping[str, str]] = {"azure_openai": "AzureOpenAI", "openai": "OpenAI"}


@dataclass(frozen=True, slots=True)
class Model:
    """A model provider. `key` is None where whoever calls signs in with an Entra token."""

    kind: Kind
    base_url: str
    key: str | None = field(repr=False)
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class Custom:
    """Whatever else a prompt flow needs."""

    values: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)


def read(session: Session, name: str) -> Model | Custom:
    """A connection with its secrets. Raises `ConfigurationError`: absent, or nothing that a prompt flow can use."""
    what = f"read the connection {name} of the workspace {session.workspace.workspace}"
    try:
        with translated(what):
            answer = session.arm("POST", f"{_path(session, name)}/listsecrets", api_version=API)
    except ResourceNotFound as error:
        raise _missing(session, name) from error
    properties = answer.get("properties") if isinstance(answer, Mapping) else None
    if not isinstance(properties, Mapping):
        raise _unusable(name, "Azure's answer does not describe it")
    return understand(name, properties)


def exists(session: Session, name: str) -> bool:
    """Whether the workspace has a connection of that name."""
    return _look(session, name) is not None


def write(session: Session, name: str, wanted: Model | Custom) -> None:
    """Create the connection, or give it another key or address; other things that are noted in it are kept."""
    present = _look(session, name) or {}
    kept = {str(k): str(v) for k, v in (present.get("metadata") or {}).items() if v is not None}
    body = {"properties": _custom(wanted, kept) if isinstance(wanted, Custom) else _model(wanted, kept)}
    with translated(f"write the connection {name} of the workspace {session.workspace.workspace}"):
        session.arm("PUT", _path(session, name), api_version=API, body=body)


def understand(name: str, properties: Mapping[str, Any]) -> Model | Custom:
    """What a connection's properties say, in any case of their names. Raises `ConfigurationError`."""
    metadata = {str(k): str(v) for k, v in (properties.get("metadata") or {}).items() if v is not None}
    kind = _flow_type(metadata) or str(properties.get("category") or "").lower()
    credentials = properties.get("credentials") or {}
    keys = {str(k): str(v) for k, v in (credentials.get("keys") or {}).items() if v is not None}
    target = str(properties.get("target") or "")
    if kind in ("customkeys", "custom"):
        own = {k: v for k, v in metadata.items() if not k.lower().startswith(FLOW_PREFIX)}
        return Custom(values=own, secrets=keys)
    provider = _provider(kind, target, metadata)
    if provider is None:
        raise _unusable(name, f"prompt flows can't use its category {properties.get('category')!r}")
    base = _any_case(metadata, "api_base", "base_url") or target or ("" if provider == "azure_openai" else OPENAI)
    signs_in = str(properties.get("authType") or "").lower() == "aad"
    key = None if signs_in else str(credentials.get("key") or _any_case(keys, "api_key", "key"))
    if problem := _problem(base, provider, key):
        raise _unusable(name, problem)
    return Model(provider, base.rstrip("/"), key, _any_case(metadata, "apiversion", "api_version") or None)


def _look(session: Session, name: str) -> Mapping[str, Any] | None:
    """The properties of a connection without its secrets; None if there is none."""
    try:
        with translated(f"look for the connection {name}"):
            answer = session.arm("GET", _path(session, name), api_version=API)
    except ResourceNotFound:
        session.details()  # the workspace is there
        return None
    return dict(answer.get("properties") or {})


def _path(session: Session, name: str) -> str:
    return f"{session.workspace.arm_id}/connections/{quote(name, safe='')}"


def _model(wanted: Model, kept: Mapping[str, str]) -> dict[str, Json]:
    metadata = {k: v for k, v in kept.items() if k.lower() not in ("apitype", "apiversion")}
    if wanted.kind == "azure_openai":
        metadata |= {"ApiType": "azure"} | ({"ApiVersion": wanted.api_version} if wanted.api_version else {})
    properties: dict[str, Json] = {"category": CATEGORIES[wanted.kind], "target": wanted.base_url}
    properties |= {"metadata": dict[str, Json](metadata), "isSharedToAll": True}
    if wanted.key is None:
        return properties | {"authType": "AAD"}
    return properties | {"authType": "ApiKey", "credentials": {"key": wanted.key}}


def _custom(wanted: Custom, kept: Mapping[str, str]) -> dict[str, Json]:
    flow = {k: v for k, v in kept.items() if k.lower().startswith(FLOW_PREFIX)}
    metadata = {"azureml.flow.connection_type": "Custom", "azureml.flow.module": "promptflow.connections"} | flow
    return {
        "authType": "CustomKeys",
        "category": "CustomKeys",
        "target": "_",  # some text is needed
        "metadata": {**metadata, **wanted.values},
        "credentials": {"keys": dict[str, Json](wanted.secrets)},
        "isSharedToAll": True,
    }


def _provider(kind: str, target: str, metadata: Mapping[str, str]) -> Kind | None:
    if kind in ("azureopenai", "aiservices", "azureaiservices"):
        return "azure_openai"
    if kind in ("openai", "serverless"):
        return "openai"
    if kind != "apikey":
        return None
    host = urlsplit(target).hostname or ""
    azure = host.endswith(AZURE_HOSTS) or _any_case(metadata, "apitype", "api_type").lower() == "azure"
    return "azure_openai" if azure else "openai"


def _problem(base: str, provider: str, key: str | None) -> str:
    """Why neither a key nor a token may be sent to this address; empty if one may."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"its target {base!r} is no address"
    if parts.scheme == "http" and not is_loopback(base):
        return f"its target {base} would get the key in clear text: write https"
    if key is None and provider == "openai" and not parts.hostname.endswith(".azure.com"):
        return f"it signs in with an Entra token, which is nothing for {parts.hostname}"
    return "it holds no key" if key == "" else ""


def _flow_type(metadata: Mapping[str, str]) -> str:
    """The kind that prompt flow's pages wrote, where the category says less."""
    return _any_case(metadata, f"{FLOW_PREFIX}connection_type").lower().removesuffix("connection")


def _any_case(values: Mapping[str, str], *names: str) -> str:
    return next((v for name in names for k, v in values.items() if k.lower() == name), "")


def _missing(session: Session, name: str) -> ConfigurationError:
    session.details()  # the workspace is there
    return ConfigurationError(
        f"the workspace {session.workspace.workspace} has no connection {name}.",
        cure=f"Next: az ml connection list -w {session.workspace.workspace}, or sluice connections create.",
    )


def _unusable(name: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the workspace connection {name} can't be used: {why}.", cure="Change it in the workspace."
    )
