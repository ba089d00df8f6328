"""Running, grading and judging a candidate. Needs neither Prefect nor MLflow, but for `record`."""

from __future__ import annotations

import platform as machine
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from orchestration import decisions, gate, tracking
from orchestration.candidates import RunSide, load_run_specs, read_manifest
from orchestration.connections import descriptions, upstreams
from orchestration.errors import ConfigurationError, Place, RunnerFailed
from orchestration.evaluation.engine import Plan
from orchestration.evaluation.engine import check as check_evaluation
from orchestration.evaluation.engine import evaluate as run_evaluation
from orchestration.evaluation.job import EvaluationJob, Progress, Subject
from orchestration.model_proxy import Ceiling
from orchestration.steps import serving
from orchestration.steps.prepare import Runtimes
from orchestration.steps.work import Work
from orchestration.values import Decision, Evaluation, Json, sha256


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
    with _in_the_users_words(work):
        return run_evaluation(evaluation_job(work, runtimes), progress=progress)


def check(work: Work, runtimes: Runtimes) -> Plan:
    """All that can be found wrong before a row is run: flows that don't load, mappings, keys that are missing."""
    with _in_the_users_words(work):
        return check_evaluation(evaluation_job(work, runtimes))


@contextmanager
def _in_the_users_words(work: Work) -> Iterator[None]:
    """A flow that can't be opened is the user's to mend: named by the file in the project, not in the snapshot."""
    try:
        yield
    except RunnerFailed as error:
        file, _, line = error.where.partition(":")
        names = read_manifest(work.candidate.folder).names
        side = "evaluator" if (work.candidate.folder / "evaluator" / file).is_file() else "flow"
        side = "flow" if (work.candidate.folder / "flow" / file).is_file() else side
        at = Place(f"{names[side]}/{file}" if file else names[side], int(line) if line.isdigit() else None)
        cure = f"Mend it, then: sluice test {work.candidate.prompt_flow}"
        raise ConfigurationError(f"the flow can't be opened: {error.message}.", at=at, cure=cure) from None


def evaluation_job(work: Work, runtimes: Runtimes) -> EvaluationJob:
    """The candidate, its runtimes and the environment's limits, as the engine takes them."""
    limits, candidate = work.settings.evaluation, work.candidate
    ceiling = Ceiling(limits.max_tokens, limits.max_price) if limits.max_tokens or limits.max_price else None
    run = load_run_specs(candidate)
    evaluator = None
    if run.evaluation is not None and runtimes.evaluator is not None:
        evaluator = _subject(
            run.evaluation, runtimes.evaluator, candidate.evaluator_hash, candidate.evaluator_lock_hash
        )
    return EvaluationJob(
        flow=_subject(run.flow, runtimes.prompt_flow, candidate.content_hash, candidate.lock_hash),
        evaluator=evaluator,
        data=run.data,
        data_name=run.data_name,
        key=work.spec.key,
        binding_hash=work.binding.binding_hash,
        connections=descriptions(work.settings, work.binding),
        upstreams=upstreams(work.settings, work.binding),
        in_flight=limits.in_flight,
        row_timeout_seconds=limits.row_timeout_seconds,
        deadline_seconds=limits.deadline_seconds,
        limit_deadline_seconds=limits.limit_deadline_seconds,
        ceiling=ceiling,
        fresh=work.request.fresh,
        state=work.state,
        logs=work.state / "logs",
    )


def _subject(side: RunSide, python: Path, content_hash: str, lock_hash: str) -> Subject:
    return Subject(
        folder=side.folder,
        python=python,
        content_hash=content_hash,
        lock_hash=lock_hash,
        variant=side.variant,
        mapping=side.mapping,
        mapping_file=side.mapping_file,
        places=side.places,
    )


def decide(work: Work, evaluation: Evaluation) -> Decision:
    """Apply the gate: the prompt flow's own rules and the environment's floors, the stricter of each."""
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
    store, known = tracking.local_store(work.state), _known(work, decision)
    if known is not None:
        run_id, name = known
        document = tracking.load_decision(store, run_id, sha256=name)
        return Judged(evaluation, replace(decision, document=document, sha256=name), runtimes, run_id)
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


def _known(work: Work, decision: Decision) -> tuple[str, str] | None:
    """Run and name of an earlier decision on the same basis: what serves knows its own without MLflow."""
    live, wanted = serving.find(work), basis(decision)
    if live is not None and live.deployment.tags.get("basis") == wanted:
        return live.deployment.tags["run"], live.deployment.tags["decision"]
    return tracking.find_basis(tracking.local_store(work.state), work.candidate.prompt_flow, wanted)


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
