"""`sluice config`"""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any

from cyclopts import App, Parameter

from orchestration.cli.block_layer import block_layer
from orchestration.cli.options import AsJson, Environment
from orchestration.cli.reply import Exit, Reply
from orchestration.errors import ConfigurationError
from orchestration.settings import find_root, load_settings
from orchestration.steps import configuration

HELP = """Show the settings in force and where each comes from; check all files.

Example: sluice config show rollout -e prod
"""
app = App(name="config", help=HELP, help_format="plaintext")

Key = Annotated[str | None, Parameter(help="One setting, or all below it: rollout.steps, rollout. By default all.")]


@app.command
def show(key: Key = None, *, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Show every setting in force with the file, block or default that it comes from.

    Example: sluice config show connections -e prod
    """
    with block_layer(environment) as block:
        settings = load_settings(find_root(), environment, block=block)
    found = configuration.in_force(settings, key)
    wide = max(len(name) for name in found)
    lines = [f"{name:{wide}}  {_shown(each['value'])}  ({each['source']})" for name, each in found.items()]
    return Reply("\n".join(lines), {"environment": environment, "settings": found})


@app.command
def check(*, json: AsJson = False) -> Reply:
    """Check every environment and every prompt flow, and list all that is wrong with file, line and key.

    Exit codes: 0 if nothing is wrong, else 64.

    Example: sluice config check
    """
    found = list(configuration.problems(find_root()))
    text = "\n".join(f"{error}" for error in found) or "Nothing is wrong."
    return Reply(text, {"problems": [_row(error) for error in found]}, Exit.USAGE if found else Exit.OK)


def _shown(value: Any) -> str:
    return jsonlib.dumps(value, ensure_ascii=False)


def _row(error: ConfigurationError) -> dict[str, Any]:
    at = error.at
    message = error.message.removeprefix(f"{at}: ") if at else error.message
    place = {"file": at.file, "line": at.line, "key": at.key} if at else {"file": None, "line": None, "key": None}
    return {**place, "message": message, "cure": error.cure}
