"""One row through a prompt flow, with what each of its nodes took and gave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.errors import ConfigurationError, Place
from orchestration.evaluation.bench import Workshop
from orchestration.evaluation.data import load_lines
from orchestration.evaluation.description import Description
from orchestration.evaluation.engine import run_row
from orchestration.evaluation.job import EvaluationJob
from orchestration.evaluation.mapping import flow_mapping
from orchestration.evaluation.rows import make_rows
from orchestration.runtimes import ensure_runtime
from orchestration.steps import failures
from orchestration.steps.evaluate import evaluation_job, with_variant
from orchestration.steps.prepare import Runtimes
from orchestration.steps.sample import answer_problem
from orchestration.steps.users_words import FLOW, UsersWords, in_the_users_words
from orchestration.steps.work import Work
from orchestration.validation import nearest
from orchestration.values import Json, RowResult, Status

SAMPLE = "the sample request"


@dataclass(frozen=True, slots=True)
class Tried:
    """One row's run. `what` names the row; `problem` says why its answer won't do, if it won't."""

    what: str
    inputs: Mapping[str, Json]
    result: RowResult
    problem: str


def try_row(
    work: Work,
    *,
    inputs: Mapping[str, Any] | None = None,
    key: str | None = None,
    variant: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Tried:
    """Run the given inputs, or the row of the data with this key, or the sample request. Stores no answer.

    Raises `ConfigurationError` for a key that no row has, a variant that there isn't, and a flow that can't be opened.
    """
    job = with_variant(_job(work, progress), variant)
    with in_the_users_words(work):
        if inputs is not None:
            return _tried(work, "the given inputs", inputs, run_row(job, inputs))
        if key is not None:
            found = _inputs_of(job, key)
            return _tried(work, f"row {key}", found, run_row(job, found))
        sample = work.spec.sample
        return _tried(work, SAMPLE, sample.inputs, run_row(job, sample.inputs), sample.answer)


def describe(job: EvaluationJob) -> Description:
    """What the prompt flow takes and gives: known from an earlier evaluation, or asked of its runner."""

    async def ask() -> Description:
        async with Workshop(job, None) as workshop, workshop.bench(job.flow, "test") as bench:
            return await bench.describe()

    return asyncio.run(ask())


def _job(work: Work, progress: Callable[[str], None]) -> EvaluationJob:
    lock = (work.candidate.folder / "lock.txt").read_text(encoding="utf-8")
    python = ensure_runtime(lock, folder=work.settings.runtimes, root=work.root, progress=progress)
    return evaluation_job(work, Runtimes(python, None))


def _inputs_of(job: EvaluationJob, key: str) -> Mapping[str, Json]:
    lines = load_lines(job.data, shown_as=job.data_name)
    mapping = flow_mapping(job.flow, describe(job), lines, job.data_name)
    rows = {row.key: row for row in make_rows(lines, mapping, job.key, job.data_name)}
    if key not in rows:
        cure = nearest(key, rows) if len(rows) <= 20 else nearest(key, rows).partition("There is")[0]
        raise ConfigurationError(
            f"no row has the key {key!r}.", at=Place(job.data_name), cure=cure or "Next: sluice evaluate --no-grade"
        )
    return rows[key].inputs


def _tried(
    work: Work, what: str, inputs: Mapping[str, Json], result: RowResult, schema: Mapping[str, object] | None = None
) -> Tried:
    if result.status is not Status.COMPLETED:
        problem = failures.line(UsersWords.of(work.candidate), FLOW, result.error) if result.error else "it failed"
        return Tried(what, inputs, result, problem)
    problem = answer_problem(dict(result.output or {}), schema) if schema is not None else ""
    return Tried(what, inputs, result, f"the answer is not as sample.answer has it: {problem}" if problem else "")
