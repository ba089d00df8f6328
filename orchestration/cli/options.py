"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

Environment = Annotated[
    str, Parameter(name=["--environment", "-e"], help="One of the files in config/: local, pr, dev, qa, prod.")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")]
Fresh = Annotated[bool, Parameter(negative="", help="Ignore stored rows: call the model for every one.")]
Commit = Annotated[str | None, Parameter(help="Release this commit instead of the checkout.")]
OnePromptFlow = Annotated[str | None, Parameter(help="A folder of flows/, or nothing for the configured default.")]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Don't ask.")]
Set = Annotated[
    list[str] | None,
    Parameter(name="--set", negative="", help="A setting for this run only: rollout.steps=[100]. May be repeated."),
]
PromptFlowName = Annotated[
    str | None, Parameter(help="A folder of flows/, `all`, or nothing for the configured default.")
]
