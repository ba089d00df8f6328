"""`sluice invoke`, `sluice logs`, `sluice rollback`: working with what serves."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from orchestration.cli.options import AsJson, Environment, OnePromptFlow
from orchestration.cli.reply import Exit, Reply
from orchestration.errors import ConfigurationError
from orchestration.platforms.base import OnlineDeployment
from orchestration.steps import operate

Deployment = Annotated[str, Parameter(help="One online deployment by name; by default the traffic decides.")]


def invoke(
    prompt_flow: OnePromptFlow = None,
    *,
    inputs: Annotated[str | None, Parameter(help="The request's body as JSON; by default the sample request.")] = None,
    deployment: Deployment = "",
    environment: Environment = "local",
    json: AsJson = False,
) -> Reply:
    """Send one request to a prompt flow's endpoint and print the answer.

    Example: sluice invoke named_entity_recognition --inputs '{"text": "Ada met Bob.", "entity_type": "person"}'
    """
    target = operate.target(environment, prompt_flow)
    answer = target.platform.invoke(target.endpoint, json_object(inputs) or target.sample, deployment=deployment)
    data = {
        "endpoint": target.endpoint,
        "deployment": answer.deployment,
        "status": answer.status,
        "seconds": round(answer.seconds, 4),
        "answer": answer.body,
    }
    text = jsonlib.dumps(answer.body, ensure_ascii=False, indent=2)
    return Reply(text, data, Exit.OK if answer.status == 200 else Exit.ERROR)


def logs(
    prompt_flow: OnePromptFlow = None,
    *,
    deployment: Deployment = "",
    lines: Annotated[int, Parameter(help="How many of the last lines.", validator=Number(gte=1))] = 50,
    environment: Environment = "local",
    json: AsJson = False,
) -> Reply:
    """Print the last lines of an online deployment, by default of the one that serves.

    Example: sluice logs named_entity_recognition --lines 20
    """
    target = operate.target(environment, prompt_flow)
    name = target.check_deployment(deployment or target.serving())
    text = target.platform.logs(OnlineDeployment.kind, name, endpoint=target.endpoint, lines=lines)
    return Reply(text, {"endpoint": target.endpoint, "deployment": name, "lines": text.splitlines()})


def rollback(prompt_flow: OnePromptFlow = None, *, environment: Environment = "local", json: AsJson = False) -> Reply:
    """Put all traffic back to the online deployment that served before. Running it twice goes forward again.

    Example: sluice rollback named_entity_recognition -e prod
    """
    traffic = operate.go_back(operate.target(environment, prompt_flow))
    shown = ", ".join(f"{name} {weight} %" for name, weight in traffic.weights.items())
    return Reply(f"{traffic.endpoint}: {shown}", {"endpoint": traffic.endpoint, "traffic": dict(traffic.weights)})


def json_object(inputs: str | None) -> dict[str, Any] | None:
    """The value of `--inputs`. Raises `ConfigurationError` for what is no JSON object."""
    if inputs is None:
        return None
    try:
        body = jsonlib.loads(inputs)
    except jsonlib.JSONDecodeError as error:
        raise ConfigurationError(f"--inputs is not JSON: {error}.", cure="Quote it for the shell: '{...}'.") from None
    if not isinstance(body, dict):
        raise ConfigurationError("--inputs must be a JSON object of the prompt flow's inputs.")
    return body
