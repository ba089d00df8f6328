"""Grading: the evaluation flow over the completed rows, then its aggregation once over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.errors import RunnerFailed
from orchestration.evaluation.answers import Desk
from orchestration.evaluation.description import Description
from orchestration.evaluation.mapping import ColumnMapping
from orchestration.evaluation.outcomes import declared
from orchestration.evaluation.rows import digest, store_keys
from orchestration.values import GradedRow, Json, Row, RowError, RowResult, Status

RAISED = "Raised"  # the code of errors whose message is user code's


@dataclass(frozen=True)
class Grades:
    """What the evaluator said of each row, what it logged over all, and why it was stopped early, if it was.

    `error` is what its aggregation raised: that belongs to no decision, since it may repeat the data.
    """

    rows: tuple[GradedRow, ...]
    logged: Mapping[str, Json]
    stopped: str | None
    error: RowError | None = None


@dataclass(frozen=True)
class Grader:
    """An evaluator that is ready to grade. `identity` is what its grades depend on, besides their inputs."""

    desk: Desk
    description: Description
    mapping: ColumnMapping
    identity: Mapping[str, Json]

    async def grade(self, rows: Sequence[Row], results: Sequence[RowResult]) -> Grades:
        """Grade the completed rows. Raises `RunnerFailed` if the evaluator can't be opened."""
        inputs, errors = self._inputs(rows, results)
        completed = list(inputs)
        keys = store_keys(self.identity, list(inputs.values()))
        asked = self.desk.ask([rows[i].key for i in completed], list(inputs.values()), keys)
        self.desk.meter.stage("grading", len(completed))
        graded, stopped = await self.desk.answer(asked, self.description)
        grades = dict(zip(completed, graded, strict=True))
        table = tuple(_graded(row, results[i], grades.get(i), errors.get(i)) for i, row in enumerate(rows))
        if stopped:
            return Grades(table, {}, stopped)
        good = [i for i in completed if grades[i].status is Status.COMPLETED]
        return await self._aggregate(table, [inputs[i] for i in good], [grades[i].output or {} for i in good])

    def _inputs(
        self, rows: Sequence[Row], results: Sequence[RowResult]
    ) -> tuple[dict[int, dict[str, Json]], dict[int, RowError]]:
        """The evaluator's inputs by position; an answer without a column that it needs is an error instead."""
        inputs: dict[int, dict[str, Json]] = {}
        errors: dict[int, RowError] = {}
        for i, (row, result) in enumerate(zip(rows, results, strict=True)):
            if result.status is Status.COMPLETED:
                try:
                    inputs[i] = self.mapping.apply(row.data, result.output)
                except KeyError as error:
                    errors[i] = RowError("MissingInput", f"the answer has no value for {error.args[0]}")
        return inputs, errors

    async def _aggregate(
        self, table: tuple[GradedRow, ...], inputs: Sequence[Mapping[str, Json]], outputs: Sequence[Mapping[str, Json]]
    ) -> Grades:
        if not self.description.aggregation or not outputs:
            return Grades(table, {}, None)
        lists = {"inputs": columns(inputs), "outputs": columns(outputs)}
        key = digest({"aggregate": lists, "of": digest(self.identity)})
        known = {} if self.desk.fresh else self.desk.store.get([key])
        if key in known:
            return Grades(table, known[key], None)
        try:
            logged = await self.desk.aggregate(**lists)
        except RunnerFailed as error:
            stopped, raised = "the evaluator's aggregation failed", RowError(error.code, error.reason, error.where)
            if error.code == RAISED:
                return Grades(table, {}, f"{stopped}: {' at '.join(filter(None, (RAISED, error.where)))}", raised)
            return Grades(table, {}, f"{stopped}: {error}")
        self.desk.store.put(key, logged)
        return Grades(table, logged, None)


def columns(records: Sequence[Mapping[str, Json]]) -> dict[str, list[Any]]:
    """Records as lists by name, null where a record lacks the name."""
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _graded(row: Row, result: RowResult, grade: RowResult | None, error: RowError | None) -> GradedRow:
    if grade is None:
        return GradedRow(row, result, None, error)
    return GradedRow(row, result, declared(grade.output), grade.error)
