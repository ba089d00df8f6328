"""What an evaluation would cost: which rows are stored, and what stored ones took. Reads the row store, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestration.candidates import load_run_specs, read_manifest
from orchestration.errors import ConfigurationError
from orchestration.evaluation.data import Line, load_lines
from orchestration.evaluation.description import Description
from orchestration.evaluation.job import EvaluationJob, Subject
from orchestration.evaluation.mapping import evaluator_mapping, flow_mapping
from orchestration.evaluation.outcomes import read_tokens
from orchestration.evaluation.row_store import look_up
from orchestration.evaluation.rows import digest, make_rows, store_keys, subject_identity
from orchestration.settings import Prices
from orchestration.steps import flow_files
from orchestration.steps.look import job_of
from orchestration.steps.work import Work
from orchestration.values import Candidate, Row

LOOK_BACK = 20  # earlier candidates, for what a row of this prompt flow usually takes

Answers = Sequence[Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Side:
    """The rows of the prompt flow, or of its evaluation flow: how many, and how many of them are stored."""

    rows: int
    stored: int
    missing: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the missing rows would cost. None: nothing is known. `basis` says what it rests on."""

    model_calls: int | None
    tokens: int | None
    price: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """What an evaluation would find in the store, and what it would spend."""

    flow: Side
    evaluator: Side | None
    estimate: Estimate


def outlook(work: Work) -> Outlook:
    """Look at the row store as the evaluation would. Raises `ConfigurationError` for data or mappings that can't work."""
    job = job_of(work)
    lines = load_lines(job.data, shown_as=job.data_name)
    answers = _answers(job, lines)
    flow, evaluator = _side(answers), _side(_grades(job, lines, answers)) if job.evaluator else None
    return Outlook(flow, evaluator, _estimate(work, job, flow, evaluator))


def _side(answers: Answers) -> Side:
    missing = sum(answer is None for answer in answers)
    return Side(len(answers), len(answers) - missing, missing)


def known_description(job: EvaluationJob, subject: Subject) -> Description | None:
    """What its runner once said of it; None if this content never ran, and then no row of it is stored either."""
    key = digest({"description": subject_identity(subject, job.binding_hash)})
    known = look_up(job.state, [key]).get(key)
    return Description(**known) if known else None


def _answers(job: EvaluationJob, lines: Sequence[Line]) -> Answers:
    description = known_description(job, job.flow)
    if description is None:
        return [None] * len(lines)
    rows = _rows(job, description, lines)
    return _stored(job, job.flow, [dict(row.inputs) for row in rows])


def _rows(job: EvaluationJob, description: Description, lines: Sequence[Line]) -> tuple[Row, ...]:
    return make_rows(lines, flow_mapping(job.flow, description, lines, job.data_name), job.key, job.data_name)


def _grades(job: EvaluationJob, lines: Sequence[Line], answers: Answers) -> Answers:
    """The stored grades; a row without a stored answer has none, as its grade depends on the answer."""
    assert job.evaluator is not None
    own, flow = known_description(job, job.evaluator), known_description(job, job.flow)
    if own is None or flow is None:
        return [None] * len(lines)
    mapping = evaluator_mapping(job.evaluator, own, lines, job.data_name, list(flow.outputs))
    inputs: dict[int, dict[str, Any]] = {}
    for i, (line, answer) in enumerate(zip(lines, answers, strict=True)):
        if answer is not None:
            try:
                inputs[i] = mapping.apply(line.record, answer["output"])
            except KeyError:
                continue
    found = dict(zip(inputs, _stored(job, job.evaluator, list(inputs.values())), strict=True))
    return [found.get(i) for i in range(len(lines))]


def _stored(job: EvaluationJob, subject: Subject, inputs: Sequence[dict[str, Any]]) -> Answers:
    keys = store_keys(subject_identity(subject, job.binding_hash), inputs)
    known = {} if job.fresh else look_up(job.state, keys)
    return [known.get(key) for key in keys]


def _estimate(work: Work, job: EvaluationJob, flow: Side, evaluator: Side | None) -> Estimate:
    if not flow.missing and not (evaluator and evaluator.missing):
        return Estimate(0, 0, 0.0, "everything is stored")
    calls = _calls(work, job, flow, evaluator)
    if not _calls_models(work):
        return Estimate(0, 0, 0.0, "no connection leads to a model")
    means, basis = _usual(work)
    if means is None:
        return Estimate(calls, None, None, "no row of this prompt flow is stored yet")
    graded = evaluator.missing if evaluator else 0
    prompt, completion = (
        round(flow.missing * a + graded * b) for a, b in zip(means.flow, means.evaluator, strict=True)
    )
    return Estimate(calls, prompt + completion, _price(work.settings.prices(work.binding), prompt, completion), basis)


def _calls_models(work: Work) -> bool:
    return any(connection["kind"] != "custom" for connection in work.binding.connections.values())


def _calls(work: Work, job: EvaluationJob, flow: Side, evaluator: Side | None) -> int | None:
    run = load_run_specs(work.candidate)
    each = [(flow.missing, flow_files.model_calls(run.flow.folder, job.flow.variant))]
    if evaluator and run.evaluation:
        each.append((evaluator.missing, flow_files.model_calls(run.evaluation.folder, run.evaluation.variant)))
    if any(per_row is None for missing, per_row in each if missing):
        return None
    return sum(missing * (per_row or 0) for missing, per_row in each)


@dataclass(frozen=True, slots=True)
class _Means:
    """Mean prompt and completion tokens of a row, and of its grading."""

    flow: tuple[float, float]
    evaluator: tuple[float, float]


def _usual(work: Work) -> tuple[_Means | None, str]:
    """What a row usually takes: from the stored rows of this content, else of the newest earlier one that has any."""
    for candidate in (work.candidate, *_earlier(work)):
        means = _means(replace(work, candidate=candidate, request=replace(work.request, fresh=False)))
        if means is not None:
            what = "this content" if candidate is work.candidate else f"commit {candidate.commit[:8]}"
            return means, f"mean of the stored rows of {what}"
    return None, ""


def _means(work: Work) -> _Means | None:
    try:
        job = job_of(work)
        lines = load_lines(job.data)
        answers = _answers(job, lines)
        grades = _grades(job, lines, answers) if job.evaluator else ()
    except ConfigurationError:
        return None  # an old candidate that can't be read any more estimates nothing
    flow = _mean(answers)
    return _Means(flow, _mean(grades) or (0.0, 0.0)) if flow else None


def _mean(answers: Answers) -> tuple[float, float] | None:
    tokens = [read_tokens(answer["tokens"]) for answer in answers if answer is not None]
    if not tokens:
        return None
    return sum(t.prompt for t in tokens) / len(tokens), sum(t.completion for t in tokens) / len(tokens)


def _earlier(work: Work) -> list[Candidate]:
    """Earlier candidates of this prompt flow, the newest first."""
    folders = sorted((work.state / "candidates").glob("[!.]*"), key=lambda f: f.stat().st_mtime, reverse=True)
    found: list[Candidate] = []
    for folder in folders:
        try:
            candidate = read_manifest(folder).candidate
        except ConfigurationError:
            continue
        if candidate.prompt_flow == work.candidate.prompt_flow and candidate.id != work.candidate.id:
            found.append(candidate)
    return found[:LOOK_BACK]


def _price(prices: Prices | None, prompt: int, completion: int) -> float | None:
    if prices is None:
        return None
    return (prompt * prices.prompt_per_million + completion * prices.completion_per_million) / 1e6
