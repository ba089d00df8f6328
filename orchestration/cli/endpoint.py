"""`sluice endpoint`"""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from orchestration.cli.ask import confirmed
from orchestration.cli.options import AsJson, Environment, Yes
from orchestration.cli.reply import Exit, Reply
from orchestration.settings import find_root, load_settings
from orchestration.steps import endpoints
from orchestration.steps.serving import overview_text

HELP = """List, start, stop and delete endpoints.

Example: sluice endpoint start
"""
app = App(name="endpoint", help=HELP, help_format="plaintext")

Name = Annotated[str, Parameter(help="The endpoint's name, or its prompt flow's.")]
OptionalName = Annotated[str | None, Parameter(help="The endpoint's name, or its prompt flow's; by default all.")]
AnyEnvironment = Annotated[
    str | None, Parameter(name=["--environment", "-e"], help="One of the files in config/; by default all of them.")
]


@app.command(name="list")
def list_(*, environment: AnyEnvironment = None, json: AsJson = False) -> Reply:
    """Show each endpoint with its address, its online deployments and their traffic.

    Example: sluice endpoint list -e dev
    """
    found = endpoints.listed_in(endpoints.settings_of(find_root(), environment))
    lines = [line for each in found for line in overview_text(each)] or ["No endpoint. Next: sluice run"]
    return Reply("\n".join(lines), {"endpoints": found})


@app.command
def start(name: OptionalName = None, *, environment: AnyEnvironment = None, json: AsJson = False) -> Reply:
    """Bring endpoints back, with their address, key and traffic: after a reboot, or after `stop` and `down`.

    Says what could not be started, and exits with 1 then.

    Example: sluice endpoint start
    """
    root = find_root()
    chosen = endpoints.settings_of(root, environment or ("local" if name else None))
    problems = {place: why for settings in chosen for place, why in endpoints.start(settings, name).items()}
    found = endpoints.listed_in(chosen)
    lines = [line for each in found for line in overview_text(each)] or ["No endpoint. Next: sluice run"]
    lines += [f"Not started: {place}: {why}" for place, why in problems.items()]
    return Reply("\n".join(lines), {"endpoints": found, "problems": problems}, Exit.ERROR if problems else Exit.OK)


@app.command
def stop(name: OptionalName = None, *, environment: AnyEnvironment = None, json: AsJson = False) -> Reply:
    """Let requests in flight finish and end the processes of endpoints. `sluice endpoint start` brings them back.

    Example: sluice endpoint stop named_entity_recognition -e dev
    """
    chosen = endpoints.settings_of(find_root(), environment or ("local" if name else None))
    ended = [each for settings in chosen for each in endpoints.stop(settings, name, say=_say)]
    return Reply(f"Ended: {', '.join(ended) or 'none was running'}", {"ended": ended})


@app.command
def delete(name: Name, *, environment: Environment = "local", yes: Yes = False, json: AsJson = False) -> Reply:
    """Remove an endpoint with its online deployments, its address and its key. Registered versions stay.

    Shows what goes and asks; without a terminal it needs --yes.

    Example: sluice endpoint delete named_entity_recognition -e dev
    """
    settings = load_settings(find_root(), environment)
    planned = endpoints.deletion(settings, name)
    data = {"endpoint": planned.endpoint, "deployments": [dict(each) for each in planned.deployments]}
    if not confirmed(planned.text(), yes=yes):
        return Reply("Nothing was changed.", {**data, "deleted": False}, Exit.ERROR)
    endpoints.delete(settings, planned)
    return Reply(f"Deleted endpoint {planned.endpoint}", {**data, "deleted": True})


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
