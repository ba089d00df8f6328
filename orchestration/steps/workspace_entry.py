"""Making or rotating a connection that the Azure Machine Learning workspace keeps, and the entry that names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestration.errors import ConfigurationError
from orchestration.processes import write_private
from orchestration.settings import Settings, load_settings
from orchestration.settings.azure_account import azure_section
from orchestration.settings.checks import address_problem
from orchestration.steps.connection_entry import Wanted
from orchestration.steps.settings_edit import with_connection
from orchestration.validation import NAME, PATTERNS

if TYPE_CHECKING:
    from orchestration.platforms.azure.workspace_connections import Model

KEPT: Final = ("azure_openai", "openai")  # kinds of models that a workspace keeps connections to


@dataclass(frozen=True, slots=True)
class WorkspaceChange:
    """What would be written: the workspace connection `connection`, and the entry if it changes (`text`: the whole file)."""

    settings: Settings
    name: str
    connection: str
    kind: str
    base_url: str
    api_version: str | None
    entry: Mapping[str, Any]
    text: str | None
    present: bool
    has_key: bool

    def summary(self) -> str:
        """The change in words, without the key."""
        does, workspace = "rotates" if self.present else "creates", azure_section(self.settings).workspace
        lines = [f"{does} the connection {self.connection} of the workspace {workspace}: {self.kind} {self.base_url}"]
        if self.text is not None:
            lines.append(f"config/{self.settings.environment}.yaml: connections.{self.name}")
            lines += [f"  {key}: {value}" for key, value in self.entry.items()]
        return "\n".join(lines)


def plan_change(settings: Settings, wanted: Wanted) -> WorkspaceChange:
    """The change that `wanted` needs; the workspace is asked for what it has, and nothing is written.

    Raises `ConfigurationError` for a name or an address that can't work, and `PlatformError`.
    """
    if not re.fullmatch(NAME, wanted.name):
        raise ConfigurationError(f"{wanted.name!r} is no name of a connection: {PATTERNS[NAME]}.")
    if wanted.kind not in KEPT:
        cure = f"Use --kind {' or '.join(KEPT)}."
        raise ConfigurationError(f"an endpoint on Azure can't use a connection of kind {wanted.kind}.", cure=cure)
    before, entry = _entries(settings, wanted)
    load_settings(settings.root, settings.environment, command_line={"connections": {wanted.name: entry}})
    there = _there(settings, entry["name"])
    kind = there.kind if there is not None and wanted.api_base is None else wanted.kind
    text = None if entry == before else with_connection(settings.root, settings.environment, wanted.name, entry)
    return WorkspaceChange(
        settings, wanted.name, entry["name"], kind, _address(wanted, kind, there),
        wanted.api_version or (there.api_version if there else None), entry, text,
        present=there is not None, has_key=there is not None and there.key is not None,
    )  # fmt: skip


def write_change(change: WorkspaceChange, *, key: str | None, entra: bool) -> None:
    """Write the connection into the workspace, then the entry that names it. Without a key that of before stays.

    `entra`: no key; whoever calls the model signs in. Raises `ConfigurationError` and `PlatformError`.
    """
    from orchestration.platforms.azure import connections  # noqa: PLC0415 - only where Azure is used

    if key is None and not entra:
        there = _there(change.settings, change.connection)
        key = there.key if there else None
        if key is None:
            raise ConfigurationError(f"the connection {change.connection} has no key yet.", cure="Use --key-stdin.")
    connections.create(
        change.settings,
        change.connection,
        kind=change.kind,
        base_url=change.base_url,
        api_version=change.api_version,
        key=None if entra else key,
    )
    if change.text is not None:
        path = change.settings.root / "config" / f"{change.settings.environment}.yaml"
        mode = path.stat().st_mode & 0o777
        write_private(path, change.text)
        path.chmod(mode)


def _entries(settings: Settings, wanted: Wanted) -> tuple[dict[str, Any], dict[str, Any]]:
    """The entry as it is and as it will be: rates and prices stay."""
    found = settings.connections.get(wanted.name)
    if found is None or found.kind != "workspace":
        before: dict[str, Any] = {}
        entry: dict[str, Any] = {"kind": "workspace", "name": wanted.name}
    else:
        before = found.model_dump(mode="json", exclude_unset=True)
        entry = dict(before)
    return before, entry | ({"model_deployment": wanted.model_deployment} if wanted.model_deployment else {})


def _there(settings: Settings, connection: str) -> Model | None:
    """What the workspace has under that name. Raises `ConfigurationError` if it is for something else."""
    from orchestration.platforms.azure.workspace import open_session  # noqa: PLC0415 - only where Azure is used
    from orchestration.platforms.azure.workspace_connections import Custom, exists, read  # noqa: PLC0415

    session = open_session(settings)
    found = read(session, connection) if exists(session, connection) else None
    if isinstance(found, Custom):
        cure = "Choose another name, or change it in the workspace."
        raise ConfigurationError(f"the workspace connection {connection} holds custom keys, and no model.", cure=cure)
    return found


def _address(wanted: Wanted, kind: str, there: Model | None) -> str:
    found = wanted.api_base or (there.base_url if there else "")
    if kind == "azure_openai" and not found:
        cure = "Add --api-base https://<resource>.openai.azure.com."
        raise ConfigurationError("Azure OpenAI needs an address.", cure=cure)
    problem = address_problem(found, encrypted=True) if found else ""
    if problem:
        raise ConfigurationError(f"--api-base {problem}")
    return found
