"""Connections of the workspace: read with the endpoint's identity, and told apart by what they lead to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit
from urllib.request import Request

from sluice_runner.azure.identity import Identity
from sluice_runner.azure.web import LOOPBACK, Ask, NoAnswer, ask

ARM = "https://management.azure.com"
API_VERSION = "2024-10-01"
OPENAI = "https://api.openai.com/v1"
FLOW_PREFIX = "azureml.flow."  # metadata that the studio's own prompt flow pages write
AZURE_HOSTS = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
NOT_YET = frozenset({401, 403})  # a role that was just assigned takes minutes to be known everywhere
BUSY = frozenset({0, 408, 409, 429, 500, 502, 503, 504})
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0  # seconds


class Unusable(Exception):
    """The connection can't be used; one line that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model provider. `kind` is `azure_openai` or `openai`; `key` is None where the identity signs in itself.

    `deployment` replaces the model that the prompt flow names; None leaves it.
    """

    kind: str
    base_url: str
    key: str | None = field(repr=False)
    api_version: str | None = None
    deployment: str | None = None


@dataclass(frozen=True, slots=True)
class Custom:
    """Whatever else a prompt flow needs."""

    values: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try. `sleep` returns True if there is no point in going on: the container has to end."""

    seconds: float
    sleep: Callable[[float], object]
    now: Callable[[], float] = time.monotonic


def read(
    workspace: str, name: str, identity: Identity, *, patience: Patience, log: Callable[[str], None], ask: Ask = ask
) -> Mapping[str, Any]:
    """The `properties` of a workspace connection, secrets included; `workspace` is its ARM id.

    Waits while the identity has no right to read it yet, and while Azure is busy. Raises `Unusable`.
    """
    began, pause = patience.now(), FIRST_PAUSE
    while True:
        try:
            return _properties(ask(_request(workspace, name, identity)))
        except NoAnswer as error:
            wait = max(pause, error.after)
            over = patience.now() - began + wait > patience.seconds
            if over or error.final or error.status not in NOT_YET | BUSY:
                raise Unusable(f"connection {name}: {error}{_cure(error)}") from None
            log(f"connection {name}: {error}{_hint(error)}; trying again in {wait:g} s")
            if error.status == 401:
                identity.forget(f"{ARM}/")
        if patience.sleep(wait):
            raise Unusable(f"connection {name}: ended before it could be read")
        pause = min(LONGEST_PAUSE, 2 * pause)


def understand(name: str, properties: Mapping[str, Any], *, deployment: str | None) -> Model | Custom:
    """What a connection's properties say, in any case of their names. Raises `Unusable`."""
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
        raise Unusable(f"connection {name}: prompt flows can't use its category {properties.get('category')!r}")
    base = _any_case(metadata, "api_base", "base_url") or target or ("" if provider == "azure_openai" else OPENAI)
    signs_in = str(properties.get("authType") or "").lower() == "aad"
    key = None if signs_in else str(credentials.get("key") or _any_case(keys, "api_key", "key"))
    problem = _problem(base, provider, key)
    if problem:
        raise Unusable(f"connection {name}: {problem}")
    return Model(provider, base.rstrip("/"), key, _any_case(metadata, "apiversion", "api_version") or None, deployment)


def _problem(base: str, provider: str, key: str | None) -> str:
    """Why neither a key nor a token may be sent to this address; empty if one may."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"its target {base!r} is no address"
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        return f"its target {base} would get the key in clear text: write https"
    if key is None and provider == "openai" and not parts.hostname.endswith(".azure.com"):
        return f"it signs in with an Entra token, which is nothing for {parts.hostname}"
    return "it holds no key" if key == "" else ""


def _request(workspace: str, name: str, identity: Identity) -> Request:
    url = f"{ARM}{workspace}/connections/{quote(name, safe='')}/listsecrets?api-version={API_VERSION}"
    token = identity.token(f"{ARM}/")
    return Request(url, data=b"", method="POST", headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - a constant scheme


def _properties(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = answer.get("properties")
    if not isinstance(properties, dict):
        raise NoAnswer("the answer describes no connection")
    return properties


def _hint(error: NoAnswer) -> str:
    if error.status in NOT_YET:
        return " (a role of the endpoint's identity that was just assigned takes minutes to work)"
    return ""


def _cure(error: NoAnswer) -> str:
    if error.status in NOT_YET:
        return (
            ". The endpoint's identity needs the role Azure Machine Learning Workspace Connection Secrets Reader "
            "on the workspace"
        )
    return ""


def _flow_type(metadata: Mapping[str, str]) -> str:
    """The kind that prompt flow's pages wrote, where the category says less."""
    return _any_case(metadata, f"{FLOW_PREFIX}connection_type").lower().removesuffix("connection")


def _provider(kind: str, target: str, metadata: Mapping[str, str]) -> str | None:
    if kind in ("azureopenai", "aiservices", "azureaiservices"):
        return "azure_openai"
    if kind in ("openai", "serverless"):
        return "openai"
    if kind != "apikey":
        return None
    host = urlsplit(target).hostname or ""
    azure = host.endswith(AZURE_HOSTS) or _any_case(metadata, "apitype", "api_type").lower() == "azure"
    return "azure_openai" if azure else "openai"


def _any_case(values: Mapping[str, str], *names: str) -> str:
    return next((v for name in names for k, v in values.items() if k.lower() == name), "")
