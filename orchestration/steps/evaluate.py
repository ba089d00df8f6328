"""Running, grading and judging a candidate. Needs neither Prefect nor MLflow, but for `record`."""

from __future__ import annotations

import platform as machine
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from orchestration import decisions, gate, tracking
from orchestration.candidates import RunSide, check_unchanged, load_run_specs
from orchestration.connections import answers_hash, descriptions
from orchestration.errors import ConfigurationError, EvaluationBroken
from orchestration.evaluation.engine import Plan
from orchestration.evaluation.engine import check as check_evaluation
from orchestration.evaluation.engine import evaluate as run_evaluation
from orchestration.evaluation.job import EvaluationJob, Progress, Subject
from orchestration.evaluation.row_store import forget_since
from orchestration.model_proxy import Ceiling, Upstream
from orchestration.platforms import open_connections, open_store
from orchestration.runtimes import runtime_key
from orchestration.steps import flow_files, serving
from orchestration.steps.prepare import Runtimes
from orchestration.steps.users_words import in_the_users_words
from orchestration.steps.work import Work
from orchestration.values import Decision, Evaluation, Json, sha256

CLOCKS_APART = 60.0  # an evaluation is timed by another clock than the store


@dataclass(frozen=True, slots=True)
class Judged:
    """An evaluation and the decision on it. `run_id` is where the ledger keeps it."""

    evaluation: Evaluation
    decision: Decision
    runtimes: Runtimes
    run_id: str = ""

    @property
    def basis(self) -> str:
        return basis(self.decision)


def run_rows(work: Work, runtimes: Runtimes, *, progress: Callable[[Progress], None] | None = None) -> Evaluation:
    """Run every row of the data and grade it; stored rows are not run again unless `fresh` is asked for."""
    with in_the_users_words(work):
        return run_evaluation(evaluation_job(work, runtimes), progress=progress)


def check(work: Work, runtimes: Runtimes) -> Plan:
    """All that can be found wrong before a row is run: flows that don't load, mappings, keys that are missing."""
    with in_the_users_words(work):
        return check_evaluation(evaluation_job(work, runtimes))


def evaluation_job(
    work: Work, runtimes: Runtimes, *, connections: Mapping[str, Upstream | Mapping[str, Json]] | None = None
) -> EvaluationJob:
    """The candidate, its runtimes and the environment's limits, as the engine takes them.

    `connections` are those of the binding, opened; by default they are opened now.
    """
    limits, candidate = work.settings.evaluation, work.candidate
    ceiling = Ceiling(limits.max_tokens, limits.max_price) if limits.max_tokens or limits.max_price else None
    run, opened = load_run_specs(candidate), connections or open_connections(work.settings, work.binding)
    evaluator = None
    if run.evaluation is not None and runtimes.evaluator is not None:
        evaluator = _subject(work, run.evaluation, runtimes.evaluator, candidate.evaluator_hash, "evaluator-lock.txt")
    return EvaluationJob(
        flow=_subject(work, run.flow, runtimes.prompt_flow, candidate.content_hash, "lock.txt"),
        evaluator=evaluator,
        data=run.data,
        data_name=run.data_name,
        key=work.spec.key,
        binding_hash=answers_hash(work.binding, opened),
        connections=descriptions(work.settings, work.binding)
        | {name: dict(each) for name, each in opened.items() if not isinstance(each, Upstream)},
        upstreams={name: each for name, each in opened.items() if isinstance(each, Upstream)},
        in_flight=limits.in_flight,
        row_timeout_seconds=limits.row_timeout_seconds,
        deadline_seconds=limits.deadline_seconds,
        limit_deadline_seconds=limits.limit_deadline_seconds,
        ceiling=ceiling,
        fresh=work.request.fresh,
        state=work.state,
        logs=work.state / "logs",
    )


def with_variant(job: EvaluationJob, variant: str | None) -> EvaluationJob:
    """The job with another variant than run.yml's. Raises `ConfigurationError` for one that the flow doesn't have."""
    if variant is None:
        return job
    known = flow_files.variants(job.flow.folder)
    if variant not in known:
        cure = f"Known are {', '.join(known)}." if known else "The prompt flow has none: leave --variant out."
        raise ConfigurationError(f"--variant: there is no variant {variant}.", cure=cure)
    return replace(job, flow=replace(job.flow, variant=variant))


def _subject(work: Work, side: RunSide, python: Path, content_hash: str, lock: str) -> Subject:
    requirements = (work.candidate.folder / lock).read_text(encoding="utf-8")
    return Subject(
        folder=side.folder,
        python=python,
        content_hash=content_hash,
        runtime=runtime_key(requirements, work.root),
        variant=side.variant,
        mapping=side.mapping,
        mapping_file=side.mapping_file,
        places=side.places,
    )


def at_place(work: Work, job: EvaluationJob) -> EvaluationJob:
    """The job as the environment's place runs it: answers from elsewhere are not those of a runtime on this machine."""
    place = work.settings.place
    if place == "worker":
        return job

    def there(subject: Subject) -> Subject:
        return replace(subject, runtime=f"{place} {subject.runtime}")

    return replace(job, flow=there(job.flow), evaluator=there(job.evaluator) if job.evaluator else None)


def decide(work: Work, evaluation: Evaluation) -> Decision:
    """Apply the gate: the prompt flow's own rules and the environment's floors, the stricter of each.

    Raises `EvaluationBroken` if the snapshot is not what it was: then nobody knows what the numbers are about.
    """
    _check_unchanged(work, evaluation)
    floors = work.settings.gate
    result = gate.decide(evaluation, work.spec, floors, prices=work.settings.prices(work.binding))
    table = decisions.table_lines(evaluation)
    before = serving.find(work)
    return decisions.make_decision(
        verdict=result.verdict,
        reasons=result.reasons,
        rules=result.rules,
        metrics=result.metrics,
        sources=result.sources,
        candidate=work.candidate,
        binding=work.binding,
        evaluation=evaluation,
        table_sha256=sha256(table),
        rules_hash=decisions.hash_of_rules(work.candidate.rules_hash, _judged_by(work)),
        versions={"sluicegate": version("sluicegate"), "python": machine.python_version()},
        previous=serving.judged_hashes(work, before.deployment) if before else None,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _check_unchanged(work: Work, evaluation: Evaluation) -> None:
    try:
        check_unchanged(work.candidate)
    except EvaluationBroken:  # its answers and grades are not those of this content
        forget_since(work.state, time.time() - evaluation.seconds - CLOCKS_APART)
        raise


def _judged_by(work: Work) -> dict[str, Json]:
    """What the environment adds to the rules: its floors, and the prices that make a cost of tokens."""
    prices: dict[str, Json] = {
        name: c.prices.model_dump() if c.prices else None for name, c in work.settings.connections.items()
    }
    return {"floors": work.settings.gate.model_dump(mode="json"), "prices": prices}


def basis(decision: Decision) -> str:
    """Hash of all that a decision rests on, without the time at which it was made."""
    document = decision.document
    return sha256(
        {"hashes": document["hashes"], "verdict": document["verdict"], "environment": document["environment"]}
    )


def record(work: Work, runtimes: Runtimes, evaluation: Evaluation, decision: Decision) -> Judged:
    """Keep the decision in the ledger, once: one that was made before on the same basis is taken from there."""
    store = open_store(work.settings)
    known = tracking.find_recorded(
        store, work.candidate.prompt_flow, basis(decision), hint=_serves_under(work, basis(decision))
    )
    if known is not None:
        named = replace(decision, document=known.document, sha256=sha256(known.document))
        return Judged(evaluation, named, runtimes, known.run_id)
    run_id = tracking.record_evaluation(
        store,
        prompt_flow=work.candidate.prompt_flow,
        environment=work.settings.environment,
        evaluation=evaluation,
        decision=decision,
        params=_params(work),
        tags={
            tracking.BASIS_TAG: basis(decision),
            "commit": work.candidate.commit,
            "dirty": str(work.candidate.dirty).lower(),
        },
    )
    return Judged(evaluation, decision, runtimes, run_id)


def _serves_under(work: Work, wanted: str) -> tuple[str, str] | None:
    """Run and name of the decision under which it serves, if that is on the wanted basis."""
    live = serving.find(work)
    tags = live.deployment.tags if live else {}
    return (tags["run"], tags["decision"]) if tags.get("basis") == wanted and {"run", "decision"} <= set(tags) else None


def _params(work: Work) -> dict[str, Json]:
    candidate, binding = work.candidate, work.binding
    models = {
        f"model.{name}": each.get("model_deployment") or "as the prompt flow names it"
        for name, each in binding.connections.items()
    }
    return {
        "content_hash": candidate.content_hash,
        "data_hash": candidate.data_hash,
        "evaluator_hash": candidate.evaluator_hash,
        "lock_hash": candidate.lock_hash,
        "binding_hash": binding.binding_hash,
        "variant": work.variant or "",
        **models,
    }
