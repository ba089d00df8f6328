"""Subflow `register`: the candidate's content becomes a model version, once."""

from __future__ import annotations

from prefect import flow

from orchestration.prefect_flows.task_table import register_model
from orchestration.steps.evaluate import Judged
from orchestration.steps.work import Work
from orchestration.values import ModelVersion


@flow(name="register", flow_run_name="register {work.label}", persist_result=False, validate_parameters=False)
def register(work: Work, judged: Judged) -> ModelVersion:
    """Register what passed; the same content is the same version."""
    return register_model(work, judged)
