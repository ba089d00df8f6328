"""Evaluations to judge, built in one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.specs import Gate, Metric, PromptFlowSpec, Rule, Sample
from orchestration.values import Evaluation, GradedRow, Row, RowError, RowResult, Status, Tokens

ACCURACY = {"accuracy": Metric(column="grade", equals="Correct")}
MEAN = {"accuracy": Metric(column="score")}


def row(key: str, grades: Mapping[str, Any] | None = None, **result: Any) -> GradedRow:
    """A completed row, unless `result` says otherwise."""
    values = {
        "key": key,
        "status": Status.COMPLETED,
        "output": {"answer": "x"},
        "seconds": 1.0,
        "tokens": Tokens(10, 5),
    }
    return GradedRow(Row(key, 1, {}, {}), RowResult(**values | result), grades)


def failed(key: str, code: str = "Raised") -> GradedRow:
    return row(key, status=Status.FAILED, output=None, error=RowError(code, "it did not work"), tokens=Tokens())


def graded(right: int, wrong: int = 0, broken: int = 0) -> list[GradedRow]:
    """Rows graded Correct or Incorrect, and score 1.0 or 0.0; then rows that failed."""
    rows = [row(f"r{i}", {"grade": "Correct", "score": 1.0}) for i in range(right)]
    rows += [row(f"w{i}", {"grade": "Incorrect", "score": 0.0}) for i in range(wrong)]
    return rows + [failed(f"f{i}") for i in range(broken)]


def evaluation(rows: Sequence[GradedRow], logged: Mapping[str, Any] | None = None, **changes: Any) -> Evaluation:
    return Evaluation(**{"id": "e", "expected": len(rows), "rows": tuple(rows), "logged": logged or {}} | changes)


def spec(*rules: Rule, metrics: Mapping[str, Metric] = ACCURACY, **gate: Any) -> PromptFlowSpec:
    return PromptFlowSpec(
        metrics=dict(metrics), gate=Gate(rules=rules, **gate), sample=Sample(inputs={"a": 1}, answer={})
    )


def above(limit: float = 0.6, metric: str = "accuracy") -> Rule:
    return Rule(metric=metric, above=limit)
