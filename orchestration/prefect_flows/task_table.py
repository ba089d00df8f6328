"""Every Prefect task in one table: which step, under which name, with which retries.

A step is retried as a whole only when the platform was unavailable, twice; each step is idempotent by
content, so nothing is cached, persisted or rolled back by Prefect.
"""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import PrefectHTTPStatusError

from orchestration import interruption
from orchestration.errors import PlatformUnavailable, SluiceError
from orchestration.steps import cloud_runs, evaluate, prepare, register, rollout, serving, stable, test_compute
from orchestration.steps import tidy as tidying

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class ExpectedErrors(logging.Filter):
    """Errors that are raised on purpose say all in one line; a traceback is for bugs.

    That the server is lost is said once, where the run ends.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, httpx.TransportError | PrefectHTTPStatusError):
            return False
        if isinstance(error, SluiceError) or (isinstance(error, OSError) and error.errno in NO_ROOM):
            record.msg, record.args, record.exc_info = str(error), (), None
        return True


for _name in ("prefect.task_runs", "prefect.flow_runs", "prefect.task_engine", "prefect.flow_engine"):
    logging.getLogger(_name).addFilter(ExpectedErrors())

P = ParamSpec("P")
R = TypeVar("R")


def platform_was_unavailable(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001 - Prefect's signature
    """Retry nothing but a transient failure of the platform."""
    return isinstance(state.data, PlatformUnavailable)


def step(function: Callable[P, R], name: str) -> Task[P, R]:
    """`function` as a Prefect task called `name`; its docstring becomes the description."""

    @functools.wraps(function)
    def uninterrupted(*args: P.args, **kwargs: P.kwargs) -> R:
        interruption.check()
        return function(*args, **kwargs)

    as_task = task(
        name=name,
        task_run_name=name,
        retries=2,
        retry_delay_seconds=[2, 10],
        retry_condition_fn=platform_was_unavailable,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    return as_task(uninterrupted)


take_candidate = step(prepare.take, "take-candidate")
build_runtimes = step(prepare.build_runtimes, "build-runtime")
find_stored = step(cloud_runs.find_stored, "look-up-stored-results")
prepare_cloud_runs = step(cloud_runs.prepare, "prepare-cloud-runs")
create_identity = step(test_compute.create_identity, "create-managed-identity")
assign_role = step(test_compute.assign_role, "assign-data-scientist-role")
create_instance = step(test_compute.create_instance, "create-compute-instance")
create_runtime = step(test_compute.create_runtime, "create-runtime")
wait_for_runtime = step(test_compute.wait_for_runtime, "wait-for-runtime")
run_prompt_flow = step(cloud_runs.run_prompt_flow, "run-prompt-flow")
run_evaluation_flow = step(cloud_runs.run_evaluation_flow, "run-evaluation-flow")
read_results = step(cloud_runs.read_results, "read-results")
remove_test_resources = step(test_compute.remove, "remove-test-resources")
run_rows = step(evaluate.run_rows, "run-prompt-flow-and-evaluation-flow")
decide = step(evaluate.decide, "accuracy-gate")
record_decision = step(evaluate.record, "record-decision")
check_serving = step(serving.check, "check-what-serves")
register_model = step(register.register_model, "register-model")
create_endpoint = step(rollout.ensure_endpoint, "create-endpoint")
grant_access = step(rollout.grant_access, "grant-endpoint-access")
settle_traffic = step(stable.settle, "check-endpoint")
render_deployment = step(rollout.render_deployment, "render-deployment")
create_deployment = step(rollout.create_deployment, "create-deployment")
wait_for_deployment = step(rollout.wait_for_deployment, "wait-for-deployment")
smoke_test = step(rollout.smoke_test, "smoke-test")
shift_traffic = step(rollout.shift_traffic, "shift-traffic")
check_deployment = step(rollout.check_deployment, "check-deployment")
roll_back = step(rollout.roll_back, "roll-back")
finish = step(rollout.finish, "mark-as-released")
remove_old_deployments = step(rollout.remove_old, "remove-old-deployments")
tidy = step(tidying.tidy, "remove-old-candidates")
