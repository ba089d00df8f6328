"""The parent flow: evaluate, decide, and only then register and deploy.

take candidate -> evaluate (build runtime, run, grade, gate, record) -> register -> deploy
                             | not PASS: ends here, nothing changed
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from orchestration.errors import PlatformError, SluiceError
from orchestration.prefect_flows import environment_block, final_state
from orchestration.prefect_flows.artifacts import publish
from orchestration.prefect_flows.deploy_subflow import deploy
from orchestration.prefect_flows.evaluate_subflow import evaluate
from orchestration.prefect_flows.register_subflow import register
from orchestration.prefect_flows.task_table import check_serving, take_candidate
from orchestration.references import using_blocks
from orchestration.steps import endpoints, outcome, prepare
from orchestration.steps.rollout import Rollout
from orchestration.values import Release, Request, Verdict

# A flow's heartbeat thread ends a second late. The parent's heartbeat tells that the run lives; subflows need none.
QUIET_SUBFLOWS = partial(temporary_settings, {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def run_name() -> str:
    """Prompt flow, commit and environment: what a person looks for in the list of runs."""
    given: dict[str, Any] = flow_run.parameters
    return prepare.describe(given["environment"], given["prompt_flow"], given["commit"])


@flow(name="evaluate-deploy", flow_run_name=run_name, persist_result=False)
def evaluate_deploy(
    environment: str = "local",
    prompt_flow: str | None = None,
    commit: str | None = None,
    fresh: bool = False,
    settings: dict[str, Any] | None = None,
) -> State[Any]:
    """Evaluate a prompt flow, apply the accuracy gate, and release it to an environment if it passes.

    Args:
        environment: One of the files in config/: local, pr, dev, qa, prod.
        prompt_flow: A folder of flows/; empty for the configured default; `all` for every one.
        commit: What to release; empty for the checkout as it is.
        fresh: Ignore stored rows and call the model for every one.
        settings: Settings for this run only, as in config/<environment>.yaml; they win over every other source.
    """
    try:
        wanted = prepare.requests(environment, prompt_flow, commit, fresh=fresh)
        tag_run(environment, *(request.prompt_flow for request in wanted))
        return final_state.of([release(request, settings or {}) for request in wanted])
    except SluiceError as error:
        return final_state.refused(error)


def tag_run(*tags: str) -> None:
    """Tag this flow run, to filter the list of runs by. `prefect.tags` would tag every task as well, and for
    each tag of a task Prefect asks the server for a concurrency slot before it runs.
    """
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags={*flow_run.tags, *tags}).raise_for_status()


def release(request: Request, settings: Mapping[str, Any]) -> Release:
    """One prompt flow from snapshot to traffic."""
    watch = outcome.Stopwatch()
    with using_blocks(environment_block.secret), QUIET_SUBFLOWS():
        work = take_candidate(request, block=environment_block.load(request.environment), command_line=settings)
        endpoints.check(work.settings, work.endpoint)
        judged = evaluate(work)
        watch.lap("evaluate")
        if judged.decision.verdict is not Verdict.PASS or work.settings.evaluate_only:
            return publish(outcome.not_released(work, judged, watch.total()))
        serving = check_serving(work)
        if serving is not None:
            return publish(outcome.unchanged(work, judged, serving, watch.total()))
        model = register(work, judged)
        watch.lap("register")
        rolled_out = deploy(work, judged, model, return_state=True)
        rollout = rolled_out.result(raise_on_failure=False)
        if not isinstance(rollout, Rollout):
            raise rollout if isinstance(rollout, BaseException) else PlatformError("The rollout has no result.")
        watch.lap("deploy")
        return publish(outcome.rolled_out(work, judged, model, rollout, watch.total()))
