"""`sluice connections create` where the workspace keeps the connections."""

from __future__ import annotations

import getpass
import sys

from orchestration.cli.ask import confirmed
from orchestration.cli.reply import Exit, Reply
from orchestration.errors import ConfigurationError
from orchestration.settings import Settings
from orchestration.steps import workspace_entry
from orchestration.steps.connection_entry import Wanted
from orchestration.steps.workspace_entry import WorkspaceChange


def create(settings: Settings, wanted: Wanted, *, key_stdin: bool, entra: bool, yes: bool) -> Reply:
    """Create or rotate the connection in the workspace, and name it in config/<environment>.yaml."""
    change = workspace_entry.plan_change(settings, wanted)  # what can't work is refused before the key is asked for
    key = None if entra else _key(change, from_stdin=key_stdin)
    data = {
        "environment": settings.environment,
        "name": wanted.name,
        "entry": dict(change.entry),
        "connection": change.connection,
        "rotated": change.present,
    }
    if not confirmed(change.summary(), yes=yes):
        return Reply("Nothing was changed.", {**data, "written": False}, Exit.ERROR)
    workspace_entry.write_change(change, key=key, entra=entra)
    text = f"Written. Next: sluice connections check {wanted.name} -e {settings.environment}"
    if change.present:
        text += (
            "\nWhat serves already reads the new key when its containers start again: release anew, or restart them."
        )
    return Reply(text, {**data, "written": True})


def _key(change: WorkspaceChange, *, from_stdin: bool) -> str | None:
    """The new key; None if the one that is there stays."""
    what = f"key of {change.base_url or change.kind}"
    if from_stdin:
        return sys.stdin.readline().strip() or _refuse_empty(what)
    if sys.stdin.isatty():
        prompt = f"{what} (empty: keep the one there is): " if change.has_key else f"{what}: "
        given = getpass.getpass(prompt, stream=sys.stderr).strip()
        return given or (None if change.has_key else _refuse_empty(what))
    if change.has_key:
        return None
    raise ConfigurationError(f"the {what} is needed, and there is no terminal to ask on.", cure="Use --key-stdin.")


def _refuse_empty(what: str) -> str:
    raise ConfigurationError(f"the {what} is empty.", cure="Give the key of your resource, or use --entra.")
