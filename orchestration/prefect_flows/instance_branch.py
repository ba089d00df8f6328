"""The evaluation at the place `compute-instance`: everything is made for this run, and removed whatever happens."""

from __future__ import annotations

from collections.abc import Callable

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from orchestration.errors import SluiceError
from orchestration.evaluation.job import Progress
from orchestration.prefect_flows import task_table as tasks
from orchestration.steps import test_compute
from orchestration.steps.cloud_runs import Prepared
from orchestration.steps.prepare import Runtimes
from orchestration.steps.test_compute import Equipment
from orchestration.steps.work import Work
from orchestration.values import Evaluation

LEFT = "What was made for the evaluation could not all be removed: %s"


def evaluate_on_instance(work: Work, runtimes: Runtimes, *, progress: Callable[[Progress], None]) -> Evaluation:
    """Run and grade the rows on a compute instance of the run's own; nothing is made if all results are stored."""
    stored = tasks.find_stored(work, runtimes)
    if stored is not None:
        return stored
    prepared = tasks.prepare_cloud_runs(work, runtimes)
    made = test_compute.equipment(work, str(flow_run.id))
    try:
        evaluation = run_both(work, runtimes, made, prepared, progress)
    except SluiceError:
        clean_up(work, made)
        raise
    except BaseException:  # Ctrl-C or a cancelled run: no task may start any more
        clean_up_at_once(work, made)
        raise
    clean_up(work, made)
    return evaluation


def run_both(
    work: Work, runtimes: Runtimes, made: Equipment, prepared: Prepared, progress: Callable[[Progress], None]
) -> Evaluation:
    """Identity, role, instance and runtime; then the prompt flow, its evaluation flow, and what came out."""
    tasks.create_identity(work, made)
    tasks.assign_role(work, made)
    tasks.create_instance(work, made)
    tasks.create_runtime(work, made)
    tasks.wait_for_runtime(work, made)
    run = tasks.run_prompt_flow(work, made, prepared)
    evaluation = tasks.run_evaluation_flow(work, made, prepared, run)
    return tasks.read_results(work, runtimes, prepared, (run, evaluation), progress=progress)


def clean_up(work: Work, made: Equipment) -> None:
    """Remove what was made. What stays is said: it neither fails a good evaluation nor hides why one failed."""
    try:
        tasks.remove_test_resources(work, made)
    except SluiceError as error:
        get_run_logger().warning(LEFT, error)


def clean_up_at_once(work: Work, made: Equipment) -> None:
    """The same without a task."""
    try:
        test_compute.remove(work, made)
    except SluiceError as error:
        get_run_logger().warning(LEFT, error)
