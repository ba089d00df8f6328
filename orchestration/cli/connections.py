"""`sluice connections`"""

from __future__ import annotations

import getpass
import sys
from dataclasses import asdict
from typing import Annotated, Literal

from cyclopts import App, Parameter

from orchestration.cli import workspace_connection
from orchestration.cli.ask import confirmed
from orchestration.cli.options import AsJson, Environment, Yes
from orchestration.cli.reply import Exit, Reply
from orchestration.errors import ConfigurationError
from orchestration.settings import Settings, find_root, load_settings
from orchestration.steps import connection_entry, connections
from orchestration.steps.connection_entry import Wanted
from orchestration.steps.connections import Described

HELP = """List, show, create and check connections: what the names in prompt flows stand for.

Example: sluice connections create aoai --api-base https://my-resource.openai.azure.com --model gpt-4o-mini
"""
app = App(name="connections", help=HELP, help_format="plaintext")

Name = Annotated[str, Parameter(help="The name by which prompt flows use it.")]
Model = Annotated[str | None, Parameter(help="The model, or the name of your Azure deployment.")]


@app.command(name="list")
def list_(*, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Show each connection: kind, address, model, where its key comes from and whether that is found. Never the key.

    Example: sluice connections list -e prod
    """
    settings = _settings(environment)
    found = [connections.describe(settings, name) for name in sorted(settings.connections)]
    lines = [line for each in found for line in _lines(each)]
    text = "\n".join(lines or ["No connection. Next: sluice connections create aoai"])
    return Reply(text, {"environment": environment, "connections": [connections.as_row(each) for each in found]})


@app.command
def show(name: Name, *, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Show one connection. Exit code 64 if it can't be resolved.

    Example: sluice connections show aoai -e dev
    """
    found = connections.describe(_settings(environment), name)
    return Reply("\n".join(_lines(found)), connections.as_row(found), Exit.OK if found.resolves else Exit.USAGE)


@app.command
def create(
    name: Name,
    *,
    kind: Annotated[Literal["azure_openai", "openai", "offline"], Parameter(help="The provider.")] = "azure_openai",
    api_base: Annotated[str | None, Parameter(help="The provider's address.")] = None,
    model: Model = None,
    api_version: Annotated[str | None, Parameter(help="Azure OpenAI's api-version.")] = None,
    key_stdin: Annotated[bool, Parameter(negative="", help="Read the key from standard input.")] = False,
    entra: Annotated[bool, Parameter(negative="", help="Azure: no key, whoever calls the model signs in.")] = False,
    environment: Environment = "local",
    yes: Yes = False,
    json: AsJson = False,
) -> Reply:
    """Create or change a connection: its entry in config/<environment>.yaml, its key and address in .env.

    With `platform: azure` the workspace keeps it: its connection is created, or gets the new key, and only its name
    is written. The key is asked for on the terminal, or read from standard input: it is never an argument. Shows what
    it changes and asks; without a terminal it needs --yes. Comments in both files stay.

    Example: sluice connections create aoai -e dev --api-base https://my-resource.openai.azure.com --model gpt-4o-mini
    """
    settings, wanted = _settings(environment), Wanted(name, kind, api_base, model, api_version)
    if settings.platform == "azure":
        return workspace_connection.create(settings, wanted, key_stdin=key_stdin, entra=entra, yes=yes)
    if entra:
        raise ConfigurationError("--entra is for environments with platform: azure.", cure="Leave it out.")
    connection_entry.plan_change(settings, wanted, key=None)  # what can't work is refused before the key is asked for
    change = connection_entry.plan_change(settings, wanted, key=_key(settings, wanted, from_stdin=key_stdin))
    data = {"environment": environment, "name": name, "entry": dict(change.entry), "env": list(change.variables)}
    if not confirmed(change.summary(), yes=yes):
        return Reply("Nothing was changed.", {**data, "written": False}, Exit.ERROR)
    connection_entry.write_change(change)
    text = f"Written. Next: sluice connections check {name} -e {environment}"
    if settings.platform == "local":
        text += f"\nWhat serves already takes it over with: sluice endpoint start -e {environment}"
    return Reply(text, {**data, "written": True})


@app.command
def check(name: Name, *, model: Model = None, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Send one tiny request (one token) the way prompt flows do, and show what came back.

    Example: sluice connections check aoai -e dev
    """
    checked = connections.check(_settings(environment), name, model=model)
    if not checked.model:
        return Reply(f"{name}: all of it resolves; a custom connection has no model to ask", asdict(checked))
    text = f"{name}: {checked.model} answered in {checked.seconds:.2f} s, {checked.tokens} tokens"
    return Reply(text, asdict(checked))


def _settings(environment: str) -> Settings:
    return load_settings(find_root(), environment)


def _key(settings: Settings, wanted: Wanted, *, from_stdin: bool) -> str | None:
    """The new key; None where none is needed, or the one there is stays."""
    variable = connection_entry.key_variable(settings, wanted)
    if variable is None:
        return None
    if from_stdin:
        return sys.stdin.readline().strip() or _refuse_empty(variable)
    there = connection_entry.has_key(settings, wanted)
    if sys.stdin.isatty():
        prompt = f"{variable} (empty: keep the one there is): " if there else f"{variable}: "
        given = getpass.getpass(prompt, stream=sys.stderr).strip()
        return given or (None if there else _refuse_empty(variable))
    if there:
        return None
    raise ConfigurationError(f"{variable} is needed, and there is no terminal to ask on.", cure="Use --key-stdin.")


def _refuse_empty(variable: str) -> str:
    raise ConfigurationError(f"{variable} is empty.", cure="Give the key of your resource.")


def _lines(each: Described) -> list[str]:
    facts = (each.kind, each.address, each.model_deployment, f"key from {each.key}" if each.key else "no key")
    state = "resolves" if each.resolves else f"NOT USABLE: {each.problem}"
    return [f"{each.name:12} {'  '.join(fact for fact in facts if fact)}  {state}"]
