"""Whatever the evaluation flow returns or logs: PASS only if it is true."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from fractions import Fraction
from typing import Any

from gate_samples import MEAN, above, evaluation, failed, graded, row, spec
from hypothesis import assume, example, given
from hypothesis import strategies as st

from orchestration.gate.verdict import decide
from orchestration.specs import Metric, Rule
from orchestration.values import GradedRow, RowError, Status, Tokens, Verdict

AGGREGATE = {"quality": Metric(**{"from": "aggregate"})}
ANY_NUMBER = st.one_of(
    st.floats(), st.integers(), st.sampled_from([math.nan, math.inf, -math.inf, 10**400, json.loads("1e400"), -0.0])
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | st.text() | st.sampled_from(["0.9", "NaN", "Infinity", "true", "Correct"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=5,
)
SCORES = st.floats(0, 1) | st.booleans() | st.sampled_from([0, 1])


def is_score(value: Any) -> bool:
    return isinstance(value, bool | int | float) and 0 <= value <= 1


def mean(values: list[Any], rows: int) -> Fraction:
    return sum((Fraction(repr(v)) if isinstance(v, float) else Fraction(v) for v in values), Fraction()) / rows


@given(st.lists(ANY_JSON, min_size=1, max_size=8))
@example(["0.9"])
@example([math.nan])
@example([10**400])
@example([None, 1.0])
@example([True])
def test_arbitrary_grades_pass_only_if_all_are_scores_and_their_mean_is_above(grades: list[Any]) -> None:
    result = decide(
        evaluation([row(str(i), {"score": grade}) for i, grade in enumerate(grades)]), spec(above(), metrics=MEAN)
    )
    if not all(is_score(grade) for grade in grades):
        assert result.verdict is Verdict.BROKEN
    else:
        holds = float(mean(grades, len(grades))) > 0.6
        assert result.verdict is (Verdict.PASS if holds else Verdict.FAIL)


@given(ANY_JSON, ANY_JSON)
def test_arbitrary_words_pass_only_if_they_are_the_word(first: Any, second: Any) -> None:
    rows = [row("a", {"grade": first}), row("b", {"grade": second})]
    verdict = decide(evaluation(rows), spec(above())).verdict
    assert (verdict is Verdict.PASS) == (first == "Correct" and second == "Correct")


def is_finite(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


@given(ANY_JSON)
@example("0.9")
@example(True)
@example(math.nan)
@example(sys.float_info.max)
@example(10**400)
@example([])
def test_an_arbitrary_aggregate_passes_only_if_it_is_a_finite_number_above(logged: Any) -> None:
    verdict = decide(
        evaluation(graded(3), {"quality": logged}), spec(above(metric="quality"), metrics=AGGREGATE)
    ).verdict
    if not is_finite(logged):
        assert verdict is Verdict.BROKEN
    else:
        assert verdict is (Verdict.PASS if logged > 0.6 else Verdict.FAIL)


@given(ANY_JSON, st.integers(6, 9))
def test_what_is_logged_beside_row_grades_can_only_break(logged: Any, right: int) -> None:
    rows = graded(right, 10 - right)
    without = decide(evaluation(rows), spec(above())).verdict
    verdict = decide(evaluation(rows, {"accuracy": logged}), spec(above())).verdict
    assert verdict in {without, Verdict.BROKEN}
    if not is_score(logged) or isinstance(logged, bool) or abs(logged - right / 10) > 0.051:
        assert verdict is Verdict.BROKEN


@given(st.lists(SCORES, min_size=1, max_size=20), st.integers(0, 20))
def test_failed_rows_never_raise_the_mean(scores: list[Any], broken: int) -> None:
    rows = [row(str(i), {"score": score}) for i, score in enumerate(scores)]
    rows += [failed(f"f{i}") for i in range(broken)]
    result = decide(evaluation(rows), spec(above(), metrics=MEAN, max_failed_ratio=1.0))
    assert result.metrics["accuracy"] == float(mean(scores, len(rows)))


@given(st.lists(SCORES, min_size=1, max_size=20), st.integers(0, 20), st.floats(0, 1))
def test_failing_never_helps_a_rule_that_wants_less(scores: list[Any], broken: int, limit: float) -> None:
    """With the failed rows graded as well as can be, the rule is no stricter than with any other grades."""
    rule = Rule(metric="accuracy", max=limit)
    rows = [row(str(i), {"score": score}) for i, score in enumerate(scores)]
    worst = [row(f"f{i}", {"score": 1}) for i in range(broken)]
    lenient = spec(rule, metrics=MEAN, max_failed_ratio=1.0)
    with_failures = decide(evaluation(rows + [failed(f"f{i}") for i in range(broken)]), lenient).verdict
    assert with_failures is decide(evaluation(rows + worst), lenient).verdict


COUNTS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=9)


@given(COUNTS, st.integers(0, 5))
def test_a_ratio_of_sums_is_scaled_by_the_completed_rows(counts: list[tuple[int, int]], broken: int) -> None:
    rows = [row(str(i), {"found": a, "wanted": b}) for i, (a, b) in enumerate(counts)]
    rows += [failed(f"f{i}") for i in range(broken)]
    metrics = {"recall": Metric(column="found", over="wanted")}
    result = decide(evaluation(rows), spec(above(metric="recall"), metrics=metrics, max_failed_ratio=1.0))
    ratio = Fraction(sum(a for a, _ in counts), sum(b for _, b in counts))
    assert result.metrics["recall"] == float(ratio * Fraction(len(counts), len(rows)))


def _spoil_result(one: GradedRow, **changes: Any) -> GradedRow:
    return replace(one, result=replace(one.result, **changes))


SPOILERS = {
    "failed": lambda one: _spoil_result(one, status=Status.FAILED, error=RowError("Raised", "no")),
    "a status of no kind": lambda one: _spoil_result(one, status="completed"),
    "a running row": lambda one: _spoil_result(one, status="running"),
    "no output": lambda one: _spoil_result(one, output=None),
    "the result of another row": lambda one: _spoil_result(one, key="stale"),
    "not graded": lambda one: replace(one, grades=None),
    "graded without the column": lambda one: replace(one, grades={"other": "Correct"}),
    "the evaluator raised": lambda one: replace(one, grade_error=RowError("Raised", "no")),
    "negative seconds": lambda one: _spoil_result(one, seconds=-1e9),
    "no number of seconds": lambda one: _spoil_result(one, seconds=math.nan),
    "endless seconds": lambda one: _spoil_result(one, seconds=math.inf),
    "negative tokens": lambda one: _spoil_result(one, tokens=Tokens(-(10**9), 0)),
}


@given(st.integers(1, 15), st.sampled_from(sorted(SPOILERS)), st.data())
def test_one_spoilt_row_among_good_ones_is_never_a_pass(many: int, how: str, data: st.DataObject) -> None:
    rows = graded(many)
    at = data.draw(st.integers(0, many - 1))
    assert decide(evaluation(rows), spec(above())).verdict is Verdict.PASS
    rows[at] = SPOILERS[how](rows[at])
    spoilt = decide(evaluation(rows), spec(above(), Rule(metric="p95_seconds", max=10)))
    assert spoilt.verdict is Verdict.BROKEN


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_number_of_expected_rows_must_be_the_number_of_rows(expected: int, rows: int) -> None:
    assume(expected != rows)
    lenient = spec(above(), max_failed_ratio=1.0)
    assert decide(evaluation(graded(rows), expected=expected), lenient).verdict is Verdict.BROKEN


@given(ANY_NUMBER)
def test_a_limit_of_any_value_passes_only_if_the_number_is_above_it(limit: float) -> None:
    rule = Rule.model_construct(
        metric="accuracy", above=limit, min=None, below=None, max=None, confidence="none", by=None
    )
    verdict = decide(
        evaluation(graded(7, 3)), spec().model_copy(update={"gate": spec().gate.model_copy(update={"rules": (rule,)})})
    ).verdict
    assert (verdict is Verdict.PASS) == (isinstance(limit, int | float) and -1.8e308 < limit < 0.7)
