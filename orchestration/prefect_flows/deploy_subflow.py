"""Subflow `deploy`: a new online deployment at 0 %, proven, then traffic in steps; whatever fails is undone."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from orchestration.errors import PlatformError, SluiceError
from orchestration.prefect_flows import task_table as tasks
from orchestration.prefect_flows.artifacts import publish_rendered
from orchestration.steps import rollout, stable
from orchestration.steps.evaluate import Judged
from orchestration.steps.stable import Green
from orchestration.steps.work import Work
from orchestration.values import ModelVersion


@flow(name="deploy", flow_run_name="deploy {work.label}", persist_result=False, validate_parameters=False)
def deploy(work: Work, judged: Judged, model: ModelVersion) -> State[Any]:
    """Roll a registered version out; returns a `Rollout`, rolled back or not."""
    with rollout.hold(work):
        tasks.create_endpoint(work)
        tasks.grant_access(work)
        green = tasks.settle_traffic(work)
        try:
            roll_out(work, green, judged, model)
        except PlatformError as error:
            back = tasks.roll_back(work, green, judged, error)
            get_run_logger().error("%s\n%s", back.problem, back.logs)
            return Failed(name="RolledBack", message=back.problem, data=back)
        except BaseException:  # Ctrl-C or a cancelled run: traffic as it was, then go on ending
            undo(work, green)
            raise
        released = tasks.finish(work, green, judged)
        try:
            tasks.remove_old_deployments(work, green)
            tasks.tidy(work)
        except (PlatformError, OSError) as error:  # it is released: the next release cleans up what is left
            get_run_logger().warning("Not all that is old could be removed: %s", error)
        return Completed(data=released)


def roll_out(work: Work, green: Green, judged: Judged, model: ModelVersion) -> None:
    """The steps up to all of the traffic. Raises `PlatformError` where the new deployment is no good."""
    publish_rendered(work, tasks.render_deployment(work, green, judged, model))
    tasks.create_deployment(work, green, judged, model)
    tasks.wait_for_deployment(work, green)
    tasks.smoke_test(work, green)
    for weight in rollout.steps(work, green):
        tasks.shift_traffic(work, green, judged, weight)
    tasks.check_deployment(work, green)


def undo(work: Work, green: Green) -> None:
    """Traffic as it was. What stands in the way is said, and must not hide why the rollout ended."""
    try:
        stable.restore(work, green)
    except SluiceError as error:
        get_run_logger().warning("The traffic could not be put back: %s The next run does it.", error)
