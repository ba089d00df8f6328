"""Starts the runner of one subject of a job."""

from __future__ import annotations

from orchestration.errors import RunnerFailed
from orchestration.evaluation.connections import Connections
from orchestration.evaluation.job import EvaluationJob, Subject
from orchestration.evaluation.runner_client import READY_SECONDS, RunnerClient


async def start_runner(
    job: EvaluationJob, subject: Subject, name: str, connections: Connections, *, trace: bool = False
) -> RunnerClient:
    """The runner with the subject opened in it; what user code prints goes to `<logs>/<name>.log`.

    `name` is `flow` or `evaluator`, as the folders of a candidate are called, or `test`.

    Raises `RunnerFailed`, and `ConfigurationError` for a connection that is bound to nothing.
    """
    opening = {
        "flow": str(subject.folder.absolute()),
        "variant": subject.variant,
        "overrides": subject.overrides,
        "concurrency": job.in_flight,
        "workers": job.workers,
        "trace": trace,
    }
    try:
        return await RunnerClient.start(
            subject.python,
            opening,
            connections=connections.describe,
            environment=subject.environment,
            log=job.logs / f"{name}.log",
            redactor=connections.redactor,
            ready_seconds=min(READY_SECONDS, job.deadline_seconds),
        )
    except RunnerFailed as error:
        error.side = name
        raise
