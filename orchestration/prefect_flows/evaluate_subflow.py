"""Subflow `evaluate`: run every row, grade it, apply the accuracy gate, record the decision."""

from __future__ import annotations

from prefect import flow

from orchestration.prefect_flows.instance_branch import evaluate_on_instance
from orchestration.prefect_flows.progress_artifact import ProgressArtifact
from orchestration.prefect_flows.task_table import build_runtimes, decide, record_decision, run_rows
from orchestration.steps.evaluate import Judged
from orchestration.steps.work import Work


@flow(name="evaluate", flow_run_name="evaluate {work.label}", persist_result=False, validate_parameters=False)
def evaluate(work: Work) -> Judged:
    """Run the prompt flow on its data, grade the answers, and decide."""
    runtimes = build_runtimes(work)
    with ProgressArtifact(work.label) as progress:
        if work.settings.place == "compute-instance":
            evaluation = evaluate_on_instance(work, runtimes, progress=progress)
        else:
            evaluation = run_rows(work, runtimes, progress=progress)
    decision = decide(work, evaluation)
    return record_decision(work, runtimes, evaluation, decision)
