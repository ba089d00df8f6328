"""Recording a decision with its evidence, exactly once.

One run per decision. Its tag names the decision from the start and its status says whether it is complete, so what
a killed process began, the next one finishes.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from orchestration.decisions import table_lines
from orchestration.errors import EvaluationBroken, PlatformError
from orchestration.tracking.artifacts import write_artifacts
from orchestration.tracking.ledger import (
    DECISION_TAG,
    DOCUMENT,
    ENVIRONMENT_TAG,
    FINISHED,
    PROMPT_FLOW_TAG,
    TABLE,
    VERDICT_TAG,
    runs_of,
)
from orchestration.tracking.store import Store, connected
from orchestration.values import Decision, Evaluation, canonical, sha256

# The smallest limits among MLflow's own and Azure ML's.
BATCH: Final = 100
LONGEST_NAME: Final = 250
LONGEST_VALUE: Final = 500

T = TypeVar("T")


def record_evaluation(
    store: Store,
    *,
    prompt_flow: str,
    environment: str,
    evaluation: Evaluation,
    decision: Decision,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
) -> str:
    """Record the decision with its evidence as a finished run and return the run's id.

    The run holds params, the finite metrics, tags, the graded table and the decision's canonical document. A
    decision that is recorded already gives the run there is, also when several processes record it at once.
    Raises `EvaluationBroken` if the document is not the hashed one, or the evaluation not the one it judges.
    """
    contents = {DOCUMENT: canonical(decision.document), TABLE: table_lines(evaluation)}
    _check(decision, contents)
    own = {
        DECISION_TAG: decision.sha256,
        VERDICT_TAG: decision.verdict.value,
        PROMPT_FLOW_TAG: prompt_flow,
        ENVIRONMENT_TAG: environment,
        "sluice.evaluation": evaluation.id,
    }
    with connected(store, "record the decision") as client, store.hold():
        experiment = _ensure_experiment(client, store, prompt_flow)
        run = _ensure_run(client, experiment, decision, environment, _entries({**tags, **own}))
        if run.info.status != FINISHED:
            _log_numbers(client, run, decision.metrics, params)
            write_artifacts(store, client, run.info.run_id, contents)
            client.set_terminated(run.info.run_id, status=FINISHED)
    return str(run.info.run_id)


def _check(decision: Decision, contents: Mapping[str, bytes]) -> None:
    if sha256(contents[DOCUMENT]) != decision.sha256:
        raise EvaluationBroken(f"The decision {decision.sha256[:12]} is not the hash of its document.")
    hashes = decision.document.get("hashes")
    if not isinstance(hashes, Mapping) or hashes.get("table") != sha256(contents[TABLE]):
        raise EvaluationBroken(f"The decision {decision.sha256[:12]} was not made on this graded table.")


def _ensure_experiment(client: Any, store: Store, prompt_flow: str) -> str:
    """Id of the prompt flow's experiment."""
    found = client.get_experiment_by_name(prompt_flow)
    if found is None:
        return str(client.create_experiment(prompt_flow, artifact_location=store.artifact_root or None))
    if found.lifecycle_stage != "active":
        raise PlatformError(
            f"The experiment {prompt_flow} was deleted, with the decisions in it.",
            cure=f"MLFLOW_TRACKING_URI='{store.tracking_uri}' mlflow experiments restore -x {found.experiment_id}",
        )
    if store.folder is not None and found.artifact_location != store.artifact_root:
        raise PlatformError(
            f"The state folder was moved: MLflow keeps whole addresses, and {prompt_flow} is at "
            f"{found.artifact_location}.",
            cure="Move it back, or start a new one by removing its folder mlflow.",
        )
    return str(found.experiment_id)


def _ensure_run(client: Any, experiment: str, decision: Decision, environment: str, tags: Mapping[str, str]) -> Any:
    """The complete run of the decision, else one that was begun, else a new one."""
    runs = runs_of(client, [experiment], decision.sha256)
    if runs:
        return next((run for run in runs if run.info.status == FINISHED), runs[0])
    name = f"{environment} {decision.verdict.value} {decision.sha256[:8]}"
    return client.create_run(experiment, run_name=name, tags=tags)


def _log_numbers(client: Any, run: Any, metrics: Mapping[str, float | None], params: Mapping[str, Any]) -> None:
    """Log what the run lacks; a param that is logged twice must not change, so the first stays."""
    from mlflow.entities import Metric, Param  # noqa: PLC0415

    now = int(time.time() * 1000)
    finite = {_name(name): float(v) for name, v in metrics.items() if v is not None and math.isfinite(v)}
    new_metrics = [Metric(name, v, now, 0) for name, v in finite.items() if name not in run.data.metrics]
    new_params = [Param(name, v) for name, v in _entries(params).items() if name not in run.data.params]
    for some in _batches(new_metrics):
        client.log_batch(run.info.run_id, metrics=some)
    for some in _batches(new_params):
        client.log_batch(run.info.run_id, params=some)


def _entries(entries: Mapping[str, Any]) -> dict[str, str]:
    """Params or tags as MLflow takes them: text, and neither names nor values too long."""
    return {_name(name): _short(str(value)) for name, value in entries.items()}


def _name(name: str) -> str:
    """The name with what MLflow refuses in one replaced."""
    return re.sub(r"[^\w .-]|^\W|\W$", "_", name[:LONGEST_NAME] or "_", flags=re.ASCII)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _batches(entries: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(entries), BATCH):
        yield entries[start : start + BATCH]
