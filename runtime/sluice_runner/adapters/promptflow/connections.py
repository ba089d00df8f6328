"""The prompt flow's connections, made from the `open` message: in memory, under the names that the flow uses.

An `llm` connection becomes what the flow expects at that place, Azure OpenAI or OpenAI, pointing at the model proxy.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from promptflow.core._connection_provider._connection_provider import ConnectionProvider
from promptflow.core._connection_provider._dict_connection_provider import DictConnectionProvider
from promptflow.core._errors import ConnectionNotFound

from sluice_runner.adapters.base import OpenFailed
from sluice_runner.adapters.promptflow.quiet import check_sandbox

AZURE, OPENAI, SERVERLESS, CUSTOM = (
    "AzureOpenAIConnection",
    "OpenAIConnection",
    "ServerlessConnection",
    "CustomConnection",
)
REFERENCE = re.compile(r"^\$\{([^.}:]+)\.([^}]+)\}$")

Description = Mapping[str, Any]


class Connections(ConnectionProvider):  # type: ignore[misc]  # promptflow has no types
    """Gives a connection in the class that is wanted. Raises promptflow's `ConnectionNotFound`."""

    def __init__(self, described: Mapping[str, Description]) -> None:
        self._described = described
        self._made: dict[tuple[str, str, str], Any] = {}

    def list(self, **_: Any) -> list[Any]:
        return [self.get(name) for name in self._described]

    @property
    def has_model(self) -> bool:
        return any(described["type"] == "llm" for described in self._described.values())

    def get(self, name: str) -> Any:
        """The connection where nothing tells which class is wanted: Azure OpenAI for an `llm` connection."""
        return self.get_as(name, (AZURE,))

    def get_as(self, name: Any, wanted: Sequence[str], *, openai: bool = False, api_version: str = "") -> Any:
        """The connection `name` in one of the `wanted` classes; `openai` decides if both are."""
        if not isinstance(name, str):
            return name  # a connection already
        described = self._described.get(name)
        if described is None:
            known = ", ".join(self._described) or "none"
            raise ConnectionNotFound(f"connection {name!r} is not bound (bound: {known})")
        if described["type"] == "custom":
            return self._make(name, CUSTOM, "")
        return self._make(name, _llm_class(wanted, openai=openai), api_version)

    def model(self, name: str | None, *, openai: bool, api_version: str = "") -> Any:
        """The connection for a model configuration: the one it names, or the first `llm` one."""
        names = [n for n, described in self._described.items() if described["type"] == "llm"]
        if name is None and not names:
            raise ConnectionNotFound("a model is configured, but no connection of type llm is bound")
        return self.get_as(name or names[0], (OPENAI if openai else AZURE,), api_version=api_version)

    def bound_model(self, name: str | None) -> str:
        """The model name that the environment binds, for where a flow names none."""
        named = [d for n, d in self._described.items() if d["type"] == "llm" and name in (None, n)]
        return (named[0].get("model") if named else None) or "default"

    def value(self, name: str, key: str) -> str:
        """What `${name.key}` stands for in a flow's `environment_variables`. Raises `OpenFailed` for secrets."""
        described = self._described.get(name)
        if described is None:
            raise OpenFailed("NoConnection", f"environment_variables names connection {name!r}, which is not bound")
        if key in described.get("secrets", {}):
            raise OpenFailed(
                "Unsafe",
                f"environment_variables would put the secret {name}.{key} into the environment; "
                f"read it from the connection in the code",
            )
        connection = self.get_as(name, (OPENAI if key == "base_url" else AZURE,))
        return str(connection[key])

    def _make(self, name: str, kind: str, api_version: str) -> Any:
        made = self._made.get((name, kind, api_version))
        if made is None:
            description = _describe(self._described[name], kind, api_version)
            made = DictConnectionProvider._build_connection({"name": name, **description})  # noqa: SLF001
            self._made[name, kind, api_version] = made
        return made


def install(connections: Connections) -> None:
    """Make every way in which promptflow looks for a connection or a model end at `connections`."""
    ConnectionProvider._instance = connections  # noqa: SLF001 - what get_instance() returns
    importlib.import_module("promptflow.core._flow").convert_model_configuration_to_connection = _redirect(connections)  # type: ignore[attr-defined]


def set_environment(variables: Mapping[str, Any], connections: Connections) -> None:
    """Set a flow's `environment_variables`, and what the openai package reads when it is used directly.

    The key is the model proxy's dummy. Raises `OpenFailed`.
    """
    if connections.has_model:
        azure, openai = connections.model(None, openai=False), connections.model(None, openai=True)
        os.environ.update(AZURE_OPENAI_ENDPOINT=azure.api_base, AZURE_OPENAI_API_KEY=azure.api_key)
        os.environ.update(OPENAI_BASE_URL=openai.base_url, OPENAI_API_KEY=openai.api_key)
        os.environ.setdefault("OPENAI_API_VERSION", azure.api_version)
        os.environ.setdefault("AZURE_OPENAI_API_VERSION", azure.api_version)
    for key, value in variables.items():
        reference = REFERENCE.match(str(value))
        os.environ[key] = connections.value(*reference.groups()) if reference else str(value)
    check_sandbox()


def is_openai(configuration: Any) -> bool:
    """Whether a model configuration (mapping, promptflow's class, or connection) speaks of OpenAI rather than Azure."""
    if isinstance(configuration, Mapping):
        kind = str(configuration.get("type") or "").lower()
        return kind.startswith("openai") or (not kind and "model" in configuration)
    return type(configuration).__name__.startswith("OpenAI")


def _redirect(connections: Connections) -> Callable[[Any], Any]:
    """Replaces promptflow's resolution of a prompty's `model.configuration`."""

    def convert(configuration: Any) -> Any:
        values = configuration if isinstance(configuration, Mapping) else vars(configuration)
        name, version = values.get("connection"), values.get("api_version")
        return connections.model(
            name if isinstance(name, str) else None,
            openai=is_openai(configuration),
            api_version=version if isinstance(version, str) and not version.startswith("${") else "",
        )

    return convert


def _llm_class(wanted: Sequence[str], *, openai: bool) -> str:
    order = (OPENAI, AZURE, SERVERLESS) if openai else (AZURE, OPENAI, SERVERLESS)
    return next((kind for kind in order if kind in wanted), order[0])


def _describe(described: Description, kind: str, api_version: str) -> dict[str, Any]:
    if kind == CUSTOM:
        secrets = dict(described.get("secrets") or {})
        value = {**(described.get("values") or {}), **secrets}
        return {"type": CUSTOM, "value": value, "secret_keys": list(secrets)}
    value = {"api_key": described["api_key"]}
    if kind == OPENAI:
        value["base_url"] = described["base_url"] + "/v1"
    else:
        value["api_base"] = described["base_url"]
    if kind == AZURE and api_version:
        value["api_version"] = api_version
    return {"type": kind, "value": value, "secret_keys": ["api_key"]}
