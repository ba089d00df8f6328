"""Subflow `deploy`: a new online deployment at 0 %, proven, then traffic in steps; whatever fails is undone."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from orchestration.errors import PlatformError
from orchestration.prefect_flows import task_table as tasks
from orchestration.steps import rollout
from orchestration.steps.evaluate import Judged
from orchestration.steps.rollout import Green
from orchestration.steps.work import Work
from orchestration.values import ModelVersion


@flow(name="deploy", flow_run_name="deploy {work.label}", persist_result=False, validate_parameters=False)
def deploy(work: Work, judged: Judged, model: ModelVersion) -> State[Any]:
    """Roll a registered version out; returns a `Rollout`, rolled back or not."""
    with rollout.hold(work):
        tasks.create_endpoint(work)
        green = Green.of(work, stable=tasks.settle_traffic(work))
        try:
            roll_out(work, green, judged, model)
        except PlatformError as error:
            back = tasks.roll_back(work, green, judged, error)
            get_run_logger().error("%s\n%s", back.problem, back.logs)
            return Failed(name="RolledBack", message=back.problem, data=back)
        except BaseException:  # Ctrl-C or a cancelled run: traffic as it was, then go on ending
            rollout.restore(work, green)
            raise
        try:
            tasks.remove_old_deployments(work, green)
            tasks.tidy(work)
        except PlatformError as error:  # it is released: what could not be cleaned up now, the next run cleans
            get_run_logger().warning("Not all that is old could be removed: %s", error)
        return Completed(data=rollout.finished(work, green, judged))


def roll_out(work: Work, green: Green, judged: Judged, model: ModelVersion) -> None:
    """The steps up to all of the traffic. Raises `PlatformError` where the new deployment is no good."""
    tasks.create_deployment(work, green, judged, model)
    tasks.wait_for_deployment(work, green)
    tasks.smoke_test(work, green)
    for weight in rollout.steps(work, green):
        tasks.shift_traffic(work, green, judged, weight)
