"""`sluice plan`"""

from __future__ import annotations

from orchestration.cli.block_layer import block_layer
from orchestration.cli.options import AsJson, Commit, Environment, Fresh, PromptFlowName
from orchestration.cli.reply import Reply
from orchestration.steps import endpoints, prepare
from orchestration.steps.look import looked_at
from orchestration.steps.plan import Plan, make_plan
from orchestration.steps.plan_text import plan_text
from orchestration.values import Request, as_json


def plan(
    prompt_flow: PromptFlowName = None,
    *,
    environment: Environment = "local",
    commit: Commit = None,
    fresh: Fresh = False,
    json: AsJson = False,
) -> Reply:
    """Show what `sluice run` would do: rows to run, model calls, price, gate, version, traffic. Creates nothing.

    Example: sluice plan named_entity_recognition -e prod
    """
    wanted = prepare.requests(environment, prompt_flow, commit, fresh=fresh)
    plans = [_plan(request) for request in wanted]
    objects = [as_json(each) for each in plans]
    data = objects[0] if len(objects) == 1 else {"plans": objects}
    return Reply("\n\n".join(plan_text(each) for each in plans), data)


def _plan(request: Request) -> Plan:
    with block_layer(request.environment) as block, looked_at(request, block=block) as work:
        endpoints.check(work.settings, work.endpoint)
        return make_plan(work)
