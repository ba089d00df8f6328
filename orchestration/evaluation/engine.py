"""The door of the engine: `evaluate` a prompt flow over data, or `run_row` for one request. Synchronous outside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from orchestration.evaluation.answers import Asked
from orchestration.evaluation.bench import Bench, Workshop
from orchestration.evaluation.connections import Connections
from orchestration.evaluation.data import Line, load_lines
from orchestration.evaluation.description import Description
from orchestration.evaluation.grading import Grader, Grades
from orchestration.evaluation.job import EvaluationJob, Progress
from orchestration.evaluation.mapping import evaluator_mapping, flow_mapping
from orchestration.evaluation.outcomes import Ended, declared
from orchestration.evaluation.recorded import NotRecorded, Recorded
from orchestration.evaluation.rows import make_rows, store_keys, subject_identity
from orchestration.evaluation.runner_client import Runner
from orchestration.evaluation.schedule import Limits, Schedule
from orchestration.evaluation.scheduler import RunnerSession
from orchestration.evaluation.start import start_runner
from orchestration.values import Evaluation, GradedRow, Json, Row, RowResult, sha256

T = TypeVar("T")


def evaluate(
    job: EvaluationJob,
    *,
    progress: Callable[[Progress], None] | None = None,
    recorded: Mapping[str, Recorded] | None = None,
) -> Evaluation:
    """Run every row of the data, grade the answers, aggregate the grades.

    Rows stand in the order of the data, failed ones included. Rows that completed before with the same content,
    binding and inputs are not run again; if nothing has to be run, no process is started. `progress` is called about
    twenty times a second, in this thread.

    `recorded` is what the prompt flow (`flow`) and its evaluation flow (`evaluator`) answered elsewhere: then that is
    what is stored and graded, and nothing is run.

    Raises `ConfigurationError` for data or mappings that can't work, before a row is run; `RunnerFailed` for a flow
    or an evaluator that can't be opened; `EvaluationBroken` if the row store can't be used. What stops the evaluation
    in its middle (ceiling, deadline, a runner that keeps dying) is no exception: `Evaluation.stopped` says it. Must
    not be called from a running event loop.
    """
    return _run(_evaluate(job, progress, recorded))


def stored(job: EvaluationJob) -> Evaluation | None:
    """The evaluation if nothing has to be run for it, else None. Raises what `evaluate` raises."""
    try:
        return _run(_evaluate(job, None, {}))
    except NotRecorded:
        return None


@dataclass(frozen=True, slots=True)
class Outline:
    """An evaluation as prompt flow's own runs are told of it: the data's lines, the rows' names, complete mappings.

    `mapping` and `evaluator_mapping` (None without an evaluation flow) are `column_mapping`s.
    """

    records: tuple[Mapping[str, Json], ...]
    names: tuple[str, ...]
    mapping: Mapping[str, Json]
    evaluator_mapping: Mapping[str, Json] | None


def outline(job: EvaluationJob) -> Outline:
    """What is to be run, checked. Raises what `evaluate` raises before a row is run."""
    return _run(_outline(job))


@dataclass(frozen=True, slots=True)
class Plan:
    """What an evaluation would do: so many rows, of which so many are known and need not be run."""

    expected: int
    known: int


def check(job: EvaluationJob) -> Plan:
    """Everything that `evaluate` checks before it runs a row, and how much there would be to run.

    Raises what `evaluate` raises. Starts a runner only for a flow or an evaluator that was never opened before.
    """
    return _run(_check(job))


def run_row(job: EvaluationJob, inputs: Mapping[str, Json], *, trace: bool = True) -> RowResult:
    """Run one request, without data, store or evaluator; with `trace` the result tells of each node.

    Raises `RunnerFailed` if the flow can't be opened.
    """
    return _run(_run_row(job, inputs, trace=trace))


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, but the main task has no result: it would be printed, all rows of it, as it takes its leave.

    (`asyncio.run` puts SIGINT's handler back, and `signal.signal` formats the old one, which holds the task.)
    """
    results: list[T] = []

    async def main() -> None:
        results.append(await coroutine)

    asyncio.run(main())
    return results[0]


async def _outline(job: EvaluationJob) -> Outline:
    lines = load_lines(job.data, shown_as=job.data_name)
    async with AsyncExitStack() as stack:
        flow, evaluator = await _open(stack, await stack.enter_async_context(Workshop(job, None)))
        rows, grader = await _prepare(job, lines, flow, evaluator)
        mapping = flow_mapping(job.flow, await flow.describe(), lines, job.data_name or str(job.data))
    return Outline(
        records=tuple(line.record for line in lines),
        names=tuple(row.key for row in rows),
        mapping=mapping.written,
        evaluator_mapping=grader.mapping.written if grader else None,
    )


async def _check(job: EvaluationJob) -> Plan:
    lines = load_lines(job.data, shown_as=job.data_name)
    async with AsyncExitStack() as stack:
        flow, evaluator = await _open(stack, await stack.enter_async_context(Workshop(job, None)))
        rows, _ = await _prepare(job, lines, flow, evaluator)
        asked = _ask(flow, rows)
    return Plan(len(rows), len(rows) - len(asked.missing))


async def _evaluate(
    job: EvaluationJob,
    progress: Callable[[Progress], None] | None,
    recorded: Mapping[str, Recorded] | None,
) -> Evaluation:
    began = time.monotonic()
    lines = load_lines(job.data, shown_as=job.data_name)
    async with AsyncExitStack() as stack:
        workshop = await stack.enter_async_context(Workshop(job, progress, recorded))
        flow, evaluator = await _open(stack, workshop)
        rows, grader = await _prepare(job, lines, flow, evaluator)
        results, stopped = await _answer(flow, rows, evaluator)
        grades = Grades(_ungraded(rows, results), {}, stopped)
        if grader is not None and not stopped:
            grades = await grader.grade(rows, results)
        usage = workshop.connections.usage
    return Evaluation(
        id=_identity(job),
        expected=len(rows),
        rows=grades.rows,
        logged=grades.logged,
        stopped=grades.stopped,
        aggregation_error=grades.error,
        seconds=time.monotonic() - began,
        usage=usage,
    )


async def _open(stack: AsyncExitStack, workshop: Workshop) -> tuple[Bench, Bench | None]:
    job = workshop.job
    flow = await stack.enter_async_context(workshop.bench(job.flow, "flow"))
    if job.evaluator is None:
        return flow, None
    return flow, await stack.enter_async_context(workshop.bench(job.evaluator, "evaluator"))


async def _prepare(
    job: EvaluationJob, lines: Sequence[Line], flow: Bench, evaluator: Bench | None
) -> tuple[tuple[Row, ...], Grader | None]:
    """Everything that can be found wrong before the first row is paid for."""
    name = job.data_name or str(job.data)
    benches = [flow] if evaluator is None else [flow, evaluator]
    descriptions = await asyncio.gather(*(bench.describe() for bench in benches))
    mapping = flow_mapping(job.flow, descriptions[0], lines, name)
    rows = make_rows(lines, mapping, job.key, name)
    if evaluator is None:
        return rows, None
    return rows, _grader(evaluator, descriptions, lines, name)


def _grader(evaluator: Bench, descriptions: Sequence[Description], lines: Sequence[Line], name: str) -> Grader:
    flow, own = descriptions
    mapping = evaluator_mapping(evaluator.subject, own, lines, name, list(flow.outputs))
    return Grader(evaluator.desk, own, mapping, evaluator.identity)


async def _answer(flow: Bench, rows: Sequence[Row], evaluator: Bench | None) -> tuple[list[RowResult], str | None]:
    asked = _ask(flow, rows)
    flow.desk.meter.stage("rows", len(rows))
    if asked.missing and evaluator is not None:
        evaluator.desk.warm()  # it will be needed, and starts while the rows run
    results, stopped = await flow.desk.answer(asked, await flow.describe())
    return [replace(result, output=declared(result.output)) for result in results], stopped


def _ask(flow: Bench, rows: Sequence[Row]) -> Asked:
    inputs = [row.inputs for row in rows]
    return flow.desk.ask([row.key for row in rows], inputs, store_keys(flow.identity, inputs))


def _ungraded(rows: Sequence[Row], results: Sequence[RowResult]) -> tuple[GradedRow, ...]:
    return tuple(GradedRow(row, result) for row, result in zip(rows, results, strict=True))


def _identity(job: EvaluationJob) -> str:
    """The evaluation's id: the same for the same question, whatever came out."""
    subjects = [job.flow] if job.evaluator is None else [job.flow, job.evaluator]
    return sha256(
        {
            "subjects": [
                {**subject_identity(s, job.binding_hash), "mapping": dict(s.mapping) if s.mapping is not None else None}
                for s in subjects
            ],
            "data": sha256(job.data.read_bytes()),
            "key": job.key,
        }
    )


async def _run_row(job: EvaluationJob, inputs: Mapping[str, Json], *, trace: bool) -> RowResult:
    ends: list[Ended] = []
    connections = Connections(job)

    async def start() -> Runner:
        return await start_runner(job, job.flow, "test", connections, trace=trace)

    try:
        async with RunnerSession(start, stop=lambda: connections.stopped) as session:
            outputs = (await session.runner()).description.outputs
            limits = Limits(1, job.row_timeout_seconds)
            await session.run(Schedule([inputs], limits, outputs=outputs, ended=lambda _, how: ends.append(how)))
    finally:
        await connections.close()
    return ends[0].named("test")
