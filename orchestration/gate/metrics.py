"""Metrics recomputed from the grades of the rows, unrounded.

The denominator is the expected rows, and a failed row counts as wrong:

    mean    sum(column) / expected
    ratio   sum(column) / sum(over) * completed / expected

so in a ratio a failed row weighs what a completed row weighs on average. Sums are exact (each grade is taken as the
decimal it reads as) and rounded once, to a float, at the end: 60 of 100 is the same number as a limit of 0.6.

A lower number is not better where the rows that lower it have failed. `upper` is therefore the metric if each failed
row had the highest grade; a rule with `below` or `max` is held against it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Literal, Protocol, TypeGuard

from orchestration.gate import text
from orchestration.specs import Metric
from orchestration.values import Evaluation, GradedRow, Json, Status, Tokens

Source = Literal["rows", "aggregate", "built-in"]
PERCENTILE = 0.95
PER_TOKENS = 1_000_000
LARGEST_GRADE = 2**53  # integers beyond it are not exact in JSON
LOGGED_TOLERANCE = 1e-9  # two correct summations of one column differ by less


class Prices(Protocol):
    """What the model costs, in one currency."""

    @property
    def prompt_per_million(self) -> float: ...
    @property
    def completion_per_million(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric. `problem`: why it can't be computed or trusted. `unfit`: why no rule may rest on it.

    `upper` is None where no upper bound can be given; `evidence` says what was counted (`139 of 240`).
    """

    value: float | None
    source: Source
    upper: float | None = None
    evidence: str = ""
    problem: str = ""
    unfit: str = ""


class Ungraded(Exception):
    """A grade that the metric needs is absent or not of the kind it must be."""


def measure(evaluation: Evaluation, metrics: Mapping[str, Metric], prices: Prices | None = None) -> dict[str, Measured]:
    """Every built-in metric and every metric of the prompt flow, by name.

    A metric of the prompt flow can't take a built-in's name: it would let pushed code redefine what a floor rests on.
    """
    built_in = _built_in(evaluation, prices)
    own = {name: _own(evaluation, name, metric) for name, metric in metrics.items()}
    taken = {
        name: replace(built_in[name], problem=f"{name} is the name of a built-in metric")
        for name in own.keys() & built_in
    }
    return built_in | own | taken


def completed(evaluation: Evaluation) -> list[GradedRow]:
    """The rows with an answer."""
    return [row for row in evaluation.rows if row.result.status is Status.COMPLETED]


def is_number(value: Json) -> TypeGuard[int | float]:
    """Whether `value` is a number that a float can hold. A bool is not a number here."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _built_in(evaluation: Evaluation, prices: Prices | None) -> dict[str, Measured]:
    done = completed(evaluation)
    tokens = sum((row.result.tokens for row in evaluation.rows), Tokens())
    cost = _price(tokens, prices) if prices else None
    failed = f"{evaluation.failed} of {evaluation.expected}"
    return {
        "failed_ratio": _plain(_share(evaluation.failed, evaluation.expected), failed),
        "p95_seconds": _plain(_percentile([row.result.seconds for row in done])),
        "tokens_per_row": _plain(_share(tokens.total, len(done))),
        "cost_per_row": _plain(_share(cost, len(done))),
    }


def _price(tokens: Tokens, prices: Prices) -> float:
    return (tokens.prompt * prices.prompt_per_million + tokens.completion * prices.completion_per_million) / PER_TOKENS


def _plain(value: float | None, evidence: str = "") -> Measured:
    """A built-in, which counts failed rows itself. Anything but a finite number from 0 up can't be right."""
    if value is None or 0 <= value <= sys.float_info.max:
        return Measured(value, "built-in", upper=value, evidence=evidence)
    return Measured(None, "built-in", problem=f"the rows give {value}, which is not a finite number from 0 up")


def _share(total: float | None, rows: int) -> float | None:
    return total / rows if total is not None and rows > 0 else None


def _percentile(seconds: Sequence[float]) -> float | None:
    """Nearest rank: the smallest time that at least 95 % of the rows did not exceed."""
    if not seconds:
        return None
    if not all(0 <= each <= sys.float_info.max for each in seconds):
        return math.nan
    return sorted(seconds)[math.ceil(PERCENTILE * len(seconds)) - 1]


def _own(evaluation: Evaluation, name: str, metric: Metric) -> Measured:
    if metric.from_ == "aggregate":
        return _aggregate(evaluation, metric.logged or name)
    try:
        return _from_rows(evaluation, name, metric)
    except Ungraded as problem:
        return Measured(None, "rows", problem=str(problem))


def _aggregate(evaluation: Evaluation, logged: str) -> Measured:
    """The number as it was logged: nobody can say what it would be with the failed rows in it."""
    value = evaluation.logged.get(logged)
    if not is_number(value):
        what = (
            f"logged {text.value_of(value)} as {logged}, not a finite number"
            if logged in evaluation.logged
            else f"did not log {logged}"
        )
        return Measured(None, "aggregate", problem=f"the evaluation flow {what}")
    left_out = evaluation.expected - sum(row.grades is not None for row in completed(evaluation))
    unfit = f"it is from: aggregate, and {text.count(left_out, 'row')} of {evaluation.expected} had no part in it"
    return Measured(float(value), "aggregate", float(value), "from: aggregate", unfit=unfit if left_out else "")


def _from_rows(evaluation: Evaluation, name: str, metric: Metric) -> Measured:
    """Raises `Ungraded` where a completed row lacks a usable grade."""
    done = completed(evaluation)
    if not done or evaluation.expected < 1:
        raise Ungraded("no row was completed" if not done else "no rows were expected")
    if metric.column is None:
        raise Ungraded("it names no column")
    total = sum((_grade(row, metric.column, metric) for row in done), Fraction())
    weight = _weight(done, metric)
    counted = weight * Fraction(evaluation.expected, len(done))
    measured = Measured(
        value=float(total / counted),
        source="rows",
        upper=_upper(evaluation, metric, total, counted),
        evidence=f"{_readable(total)} of {_readable(counted)}",
    )
    logged = metric.logged or name
    return replace(measured, problem=_contradiction(evaluation, logged, float(total / weight), len(done)))


def _weight(done: Sequence[GradedRow], metric: Metric) -> Fraction:
    """What the completed rows weigh: 1 each, or the sum of the column `over`."""
    if metric.over is None:
        return Fraction(len(done))
    weight = sum((_grade(row, metric.over, metric) for row in done), Fraction())
    if not weight:
        raise Ungraded(f'the column "{metric.over}" sums to 0, so there is nothing to divide by')
    return weight


def _upper(evaluation: Evaluation, metric: Metric, total: Fraction, counted: Fraction) -> float | None:
    """The metric if each failed row had the highest grade, 1; a ratio of sums has no highest grade."""
    missing = evaluation.expected - len(completed(evaluation))
    if not missing:
        return float(total / counted)
    return None if metric.over is not None else float((total + missing) / counted)


def _grade(row: GradedRow, column: str, metric: Metric) -> Fraction:
    if row.grades is None or column not in row.grades:
        raise Ungraded(f'row {row.row.key}: the evaluation flow gave no "{column}"')
    grade = row.grades[column]
    if metric.equals is not None and column == metric.column:
        return _matches(row, column, grade, metric.equals)
    highest = LARGEST_GRADE if metric.over else 1
    if isinstance(grade, bool | int | float) and 0 <= grade <= highest:
        return Fraction(repr(grade)) if isinstance(grade, float) else Fraction(grade)
    kind = "a number from 0 up" if metric.over else "true, false or a number from 0 to 1"
    raise Ungraded(f'row {row.row.key}: the grade "{column}" is {text.value_of(grade)}, not {kind}')


def _matches(row: GradedRow, column: str, grade: Json, wanted: bool | float | str) -> Fraction:
    """1 if the grade is the one that counts as right. It must be of the same kind: true is not 1, "1" is not 1."""
    if _kind(grade) is None or _kind(grade) != _kind(wanted):
        raise Ungraded(f'row {row.row.key}: the grade "{column}" is {text.value_of(grade)}, not a {_kind(wanted)}')
    return Fraction(grade == wanted)


def _kind(value: Json) -> str | None:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "word"
    return "number" if is_number(value) else None


def _contradiction(evaluation: Evaluation, logged: str, ours: float, rows: int) -> str:
    """What the evaluation flow logged must be our number over the rows it saw, rounded to the decimals it shows."""
    if logged not in evaluation.logged:
        return ""
    theirs = evaluation.logged[logged]
    if not is_number(theirs):
        return f"the evaluation flow logged {text.value_of(theirs)} as {logged}, not a finite number"
    if abs(ours - theirs) <= _half_of_the_last_decimal(float(theirs)) + LOGGED_TOLERANCE:
        return ""
    over = text.count(rows, "completed row")
    return f"the evaluation flow logged {logged} {theirs}, but its grades give {text.number(ours, theirs)} over {over}"


def _half_of_the_last_decimal(value: float) -> float:
    exponent = Decimal(repr(value)).as_tuple().exponent
    return 0.5 * 10.0 ** min(int(exponent), -1)


def _readable(sum_: Fraction) -> str:
    return str(sum_.numerator) if sum_.denominator == 1 else f"{float(sum_):.2f}"
