"""`sluice test`"""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from orchestration.cli.operate import json_object
from orchestration.cli.options import AsJson, Environment, OnePromptFlow
from orchestration.cli.reply import Exit, Reply
from orchestration.errors import ConfigurationError
from orchestration.steps import prepare
from orchestration.steps.try_row import try_row
from orchestration.steps.try_row_text import tried_json, tried_text


def try_one(
    prompt_flow: OnePromptFlow = None,
    *,
    inputs: Annotated[str | None, Parameter(help="The inputs as a JSON object.")] = None,
    row: Annotated[str | None, Parameter(help="A row of the data by its key.")] = None,
    variant: Annotated[str | None, Parameter(help="Another variant than run.yml's: '${node.variant}'.")] = None,
    environment: Environment = "local",
    json: AsJson = False,
) -> Reply:
    """Run one row, by default the sample request, and show what each node took and gave.

    Exit codes: 0 if it completed (and the sample's answer has the expected shape), 4 if not.

    Example: sluice test named_entity_recognition --row ner-001
    """
    if inputs is not None and row is not None:
        raise ConfigurationError("--inputs and --row exclude each other.", cure="Give one of them.")
    given = json_object(inputs)
    request = prepare.one_request(environment, prompt_flow)
    work = prepare.take(request, check_dirty=False)
    tried = try_row(work, inputs=given, key=row, variant=variant, progress=_say)
    text = tried_text(tried, work.label)
    return Reply(text, {"prompt_flow": request.prompt_flow, **tried_json(tried)}, _code(tried.problem))


def _code(problem: str) -> Exit:
    return Exit.BROKEN if problem else Exit.OK


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
