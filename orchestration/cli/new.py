"""`sluice new`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orchestration.cli.options import AsJson
from orchestration.cli.reply import Reply
from orchestration.settings import find_root
from orchestration.steps.configuration import prompt_flow_problems
from orchestration.steps.scaffold import Kind, adopt, scaffold


def new(
    name: Annotated[str, Parameter(help="The name of the new folder in flows/.")],
    *,
    kind: Annotated[Kind, Parameter(help="A DAG of nodes, a class, one prompty file, or a plain function.")] = "dag",
    from_: Annotated[
        Path | None,
        Parameter(name="--from", help="Copy the prompt flow in this folder, unchanged, and add sluice.yaml."),
    ] = None,
    json: AsJson = False,
) -> Reply:
    """Make a prompt flow in flows/NAME with evaluation flow, data and gate, which passes at once; no code elsewhere.

    With --from: bring an existing prompt flow; only what is missing is added.

    Example: sluice new support_triage --kind prompty && sluice evaluate support_triage
    """
    root = find_root()
    made = scaffold(root, name, kind=kind) if from_ is None else adopt(root, name, from_)
    problems = dict.fromkeys(str(error) for error in prompt_flow_problems(root, name))
    hints = [*made.hints, *problems]
    following = f"sluice {'test' if from_ else 'evaluate'} {name}"
    lines = [*made.files, *(f"To do: {hint}" for hint in hints), f"Next: {following}"]
    return Reply("\n".join(lines), {"name": name, "files": list(made.files), "to_do": hints, "next": following})
