"""Making a connection's entry: what goes into `config/<environment>.yaml`, what into `.env`, checked before it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestration.errors import ConfigurationError
from orchestration.processes import write_private
from orchestration.references import Reference, resolve
from orchestration.settings import Settings, load_settings
from orchestration.settings.checks import address_problem, is_loopback
from orchestration.steps.env_file import refuse_tracked, write_env
from orchestration.steps.settings_edit import with_connection
from orchestration.validation import NAME, PATTERNS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks for. Where an address or a model is None, what there is stays."""

    name: str
    kind: str
    api_base: str | None = None
    model_deployment: str | None = None
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What would be written. `secrets` are the values for `.env`, never shown; `text` is the whole settings file."""

    settings: Settings
    name: str
    entry: Mapping[str, Any]
    text: str
    variables: tuple[str, ...]
    key_variable: str | None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def summary(self) -> str:
        """The change in words, without the values."""
        file = f"config/{self.settings.environment}.yaml"
        lines = [
            f"{file}: connections.{self.name}",
            *(f"  {key}: {_shown(value)}" for key, value in self.entry.items()),
        ]
        return "\n".join([*lines, *(f".env: {self._shown(name)}" for name in self.variables)])

    def _shown(self, variable: str) -> str:
        there = ", replaces the value there is, for every environment" if _is_set(self.settings, variable) else ""
        return f"{variable}=… (0600{there})"


def plan_change(settings: Settings, wanted: Wanted, *, key: str | None) -> Change:
    """The change that `wanted` needs, checked as the settings will be. `key` is the new key, if there is one.

    Raises `ConfigurationError` for a name, an address or settings that can't work, and if git doesn't ignore `.env`.
    """
    if not re.fullmatch(NAME, wanted.name):
        raise ConfigurationError(f"{wanted.name!r} is no name of a connection: {PATTERNS[NAME]}.")
    environment, secrets = settings.environment, _secrets(settings, wanted, key)
    entry = _entry(settings, wanted, secrets)
    load_settings(settings.root, environment, command_line={"connections": {wanted.name: entry}})
    if secrets:
        refuse_tracked(settings.root)
    text = with_connection(settings.root, environment, wanted.name, entry)
    return Change(settings, wanted.name, entry, text, tuple(secrets), key_variable(settings, wanted), secrets)


def write_change(change: Change) -> None:
    """Write `.env` first, then the settings that refer to it."""
    root = change.settings.root
    if change.secrets:
        write_env(root, change.secrets)
    path = (root / "config" / f"{change.settings.environment}.yaml").resolve()  # a link stays one
    mode = path.stat().st_mode & 0o777
    write_private(path, change.text)
    path.chmod(mode)


def key_variable(settings: Settings, wanted: Wanted) -> str | None:
    """The variable that holds the key; None where no key is needed."""
    if wanted.kind == "offline" or (wanted.api_base and is_loopback(wanted.api_base)):
        return None
    return _variable(settings, wanted.name, "api_key")


def has_key(settings: Settings, wanted: Wanted) -> bool:
    """Whether the key's variable already has a value that is not the sample's."""
    name = key_variable(settings, wanted)
    return name is not None and _is_set(settings, name)


def _is_set(settings: Settings, variable: str) -> bool:
    try:
        resolve(Reference(env=variable), root=settings.root)
    except ConfigurationError:
        return False
    return True


def _variable(settings: Settings, name: str, part: str) -> str:
    """The variable that the entry names already, else one made of the connection's name: AOAI_API_KEY."""
    there = settings.connections.get(name)
    reference = getattr(there, part, None)
    if isinstance(reference, Reference) and reference.env:
        return reference.env
    return f"{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}_{part.upper()}"


def _secrets(settings: Settings, wanted: Wanted, key: str | None) -> dict[str, str]:
    """What belongs into `.env`: the key, and an Azure address, which says whose resource it is."""
    found: dict[str, str] = {}
    variable = key_variable(settings, wanted)
    if variable and key:
        found[variable] = key
    if wanted.kind == "azure_openai" and wanted.api_base:
        problem = address_problem(wanted.api_base, encrypted=True)
        if problem:
            raise ConfigurationError(f"--api-base {problem}")
        found[_variable(settings, wanted.name, "api_base")] = wanted.api_base
    return found


def _entry(settings: Settings, wanted: Wanted, secrets: Mapping[str, str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": wanted.kind}
    if wanted.kind == "azure_openai":
        entry["api_base"] = _base(settings, wanted, secrets)
    elif wanted.api_base and wanted.kind != "offline":
        entry["api_base"] = wanted.api_base
    variable = key_variable(settings, wanted)
    if variable:
        entry["api_key"] = {"env": variable}
    more = {"api_version": wanted.api_version, "model_deployment": wanted.model_deployment}
    return entry | {key: value for key, value in more.items() if value}


def _base(settings: Settings, wanted: Wanted, secrets: Mapping[str, str]) -> Any:
    """The address by reference to `.env`, or the one in force. Raises `ConfigurationError` if there is none."""
    variable = _variable(settings, wanted.name, "api_base")
    there = settings.connections.get(wanted.name)
    if variable in secrets or _is_set(settings, variable):
        return {"env": variable}
    if there is not None and there.kind == "azure_openai" and isinstance(there.api_base, str):
        return there.api_base
    raise ConfigurationError(
        "Azure OpenAI needs an address.", cure="Add --api-base https://<resource>.openai.azure.com."
    )


def _shown(value: Any) -> str:
    return f"{{env: {value['env']}}}" if isinstance(value, Mapping) else str(value)
