"""The truth table of docs/gate.md, case by case, against the code."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from gate_samples import ACCURACY, MEAN, above, evaluation, failed, graded, row, spec

from orchestration.gate.metrics import measure
from orchestration.gate.rules import judge
from orchestration.gate.verdict import GateResult, decide
from orchestration.specs import Gate, Metric, Rule
from orchestration.values import RowError, Verdict

DOCUMENT = Path(__file__).parents[2] / "docs" / "gate.md"
TABLE = re.compile(r"^\| (?P<case>[^|]+?) \| (?P<verdict>[A-Z]+) \| (?P<reason>.+?) \|$", re.MULTILINE)
AGGREGATE = {"quality": Metric(**{"from": "aggregate"})}
RATIO = {"recall": Metric(column="found", over="wanted")}
TEN = graded(7, 3)

CASES: dict[str, GateResult] = {
    "97 of 120 right, above 0.60": decide(evaluation(graded(97, 23)), spec(above())),
    "139 of 240 right, above 0.60": decide(evaluation(graded(139, 101)), spec(above())),
    "61 of 102 right, above 0.60": decide(evaluation(graded(61, 41)), spec(above())),
    "60 of 100 right, above 0.60": decide(evaluation(graded(60, 40)), spec(above())),
    "60 of 100 right, min 0.60": decide(evaluation(graded(60, 40)), spec(Rule(metric="accuracy", min=0.6))),
    "2 good and 6 broken rows": decide(evaluation(graded(2, 0, 6)), spec(above())),
    "2 good and 6 broken rows, all tolerated": decide(evaluation(graded(2, 0, 6)), spec(above(), max_failed_ratio=1.0)),
    "every row broken, all tolerated": decide(
        evaluation(graded(0, 0, 3)), spec(Rule(metric="accuracy", max=1), max_failed_ratio=1.0)
    ),
    "1 of 20 rows broken, 5 % tolerated": decide(evaluation(graded(19, 0, 1)), spec(above(), max_failed_ratio=0.05)),
    "no data": decide(evaluation([]), spec(above())),
    "a row without a result": decide(evaluation(TEN, expected=11), spec(above())),
    "a row too many": decide(evaluation(TEN, expected=9), spec(above())),
    "a row twice": decide(evaluation([*TEN, TEN[0]], expected=10), spec(above())),
    "the result of another row": decide(
        evaluation([*TEN, replace(TEN[0], row=replace(TEN[0].row, key="other"))]), spec(above())
    ),
    "stopped early": decide(evaluation(TEN, stopped="the spending ceiling was reached"), spec(above())),
    "the evaluator raised": decide(
        evaluation([*TEN, replace(row("x"), grade_error=RowError("Raised", "no"))]), spec(above())
    ),
    "a row without a grade": decide(evaluation([*TEN, row("x", {})]), spec(above())),
    "a grade of another kind": decide(evaluation([*TEN, row("x", {"grade": None})]), spec(above())),
    "a grade that is a number in quotes": decide(
        evaluation([*TEN, row("x", {"score": "0.9"})]), spec(above(), metrics=MEAN)
    ),
    "a grade out of range": decide(evaluation([*TEN, row("x", {"score": 60})]), spec(above(), metrics=MEAN)),
    "the evaluator logs the same": decide(evaluation(TEN, {"accuracy": 0.7}), spec(above())),
    "the evaluator logs another number": decide(evaluation(TEN, {"accuracy": 0.9}), spec(above())),
    "the evaluator logs NaN": decide(evaluation(TEN, {"accuracy": "NaN"}), spec(above())),
    "an aggregate as logged": decide(evaluation(TEN, {"quality": 4.2}), spec(above(4, "quality"), metrics=AGGREGATE)),
    "an aggregate, and a failed row": decide(
        evaluation([*TEN, failed("x")], {"quality": 4.2}),
        spec(above(4, "quality"), metrics=AGGREGATE, max_failed_ratio=0.5),
    ),
    "an aggregate that was not logged": decide(evaluation(TEN), spec(above(4, "quality"), metrics=AGGREGATE)),
    "an aggregate that is true": decide(
        evaluation(TEN, {"quality": True}), spec(above(0, "quality"), metrics=AGGREGATE)
    ),
    "a ratio of sums over 0": decide(
        evaluation([row("x", {"found": 0, "wanted": 0})]), spec(above(0.5, "recall"), metrics=RATIO)
    ),
    "a rule on an unknown metric": decide(evaluation(TEN), spec(above(metric="acuracy"))),
    "a rule on cost without prices": decide(evaluation(TEN), spec(Rule(metric="cost_per_row", max=1))),
    "a metric named like a built-in": decide(
        evaluation(TEN), spec(above(), metrics={"failed_ratio": Metric(column="score")})
    ),
    "no rules": decide(evaluation(TEN), spec()),
    "too few rows": decide(evaluation(TEN), spec(above(), min_rows=100)),
    "too few rows, and below": decide(evaluation(TEN), spec(above(0.8), min_rows=100)),
    "the environment asks for more": decide(evaluation(TEN), spec(above()), Gate(rules=(above(0.75),))),
    "the environment asks for more rows": decide(evaluation(TEN), spec(above()), Gate(min_rows=50)),
    "the environment tolerates no failure": decide(
        evaluation(graded(19, 0, 1)), spec(above(), max_failed_ratio=0.05), Gate()
    ),
    "fewer wrong answers because rows failed": decide(
        evaluation(graded(18, 0, 2)),
        spec(
            Rule(metric="wrong", max=0.05),
            metrics={"wrong": Metric(column="grade", equals="Incorrect")},
            max_failed_ratio=0.1,
        ),
    ),
}


def documented() -> dict[str, tuple[str, str]]:
    return {m["case"]: (m["verdict"], m["reason"]) for m in TABLE.finditer(DOCUMENT.read_text())}


@pytest.mark.parametrize("case", CASES)
def test_the_document_says_what_the_gate_does(case: str) -> None:
    result = CASES[case]
    assert documented()[case] == (result.verdict, result.reasons[0])


def test_the_document_has_no_case_that_is_not_run() -> None:
    assert documented().keys() == CASES.keys()


def test_a_verdict_is_what_its_rules_say() -> None:
    for case, result in CASES.items():
        if result.verdict is Verdict.PASS:
            assert result.rules, case
            assert {rule.outcome for rule in result.rules} == {Verdict.PASS}, case
        if result.verdict is Verdict.FAIL:
            assert Verdict.FAIL in {rule.outcome for rule in result.rules}, case


def test_floors_are_judged_besides_the_rules_of_the_prompt_flow() -> None:
    result = CASES["the environment asks for more"]
    assert [rule.outcome for rule in result.rules] == [Verdict.PASS, Verdict.FAIL]
    assert "floor of the environment" in result.rules[1].rule


def test_pushed_code_cannot_lower_its_gate_below_the_floors() -> None:
    lax = spec(Rule(metric="accuracy", min=0), min_rows=1, max_failed_ratio=1.0)
    floors = Gate(rules=(above(0.9),), min_rows=10, max_failed_ratio=0.0)
    assert decide(evaluation(graded(5, 0)), lax, floors).verdict is Verdict.INCONCLUSIVE
    assert decide(evaluation(graded(8, 2)), lax, floors).verdict is Verdict.FAIL
    assert decide(evaluation(graded(10, 0, 1)), lax, floors).verdict is Verdict.BROKEN
    assert decide(evaluation(graded(10, 0)), lax, floors).verdict is Verdict.PASS


def test_floors_alone_are_something_to_judge_by() -> None:
    assert decide(evaluation(TEN), spec(), Gate(rules=(above(),))).verdict is Verdict.PASS


def test_floors_without_a_demand_change_nothing() -> None:
    class NoDemand:
        rules = ()
        min_rows = None
        max_failed_ratio = None

    lax = spec(above(), max_failed_ratio=0.5)
    assert decide(evaluation(graded(9, 0, 1)), lax, NoDemand()).verdict is Verdict.PASS


def test_many_failed_rows_are_counted_and_the_first_are_named() -> None:
    reason = decide(evaluation(graded(100, 0, 20)), spec(above())).reasons[0]
    assert "f0 (Raised), f1 (Raised)" in reason
    assert "and 15 more" in reason
    assert "f19" not in reason


@pytest.mark.parametrize("unknown", [{"confidence": "wilson"}, {"by": "language"}])
def test_a_rule_of_a_kind_that_the_gate_does_not_know_is_broken(unknown: dict[str, str]) -> None:
    known = {
        "metric": "accuracy",
        "above": 0.1,
        "min": None,
        "below": None,
        "max": None,
        "confidence": "none",
        "by": None,
    }
    assert judge(Rule.model_construct(**known), measure(evaluation(TEN), ACCURACY)).outcome is Verdict.PASS
    assert judge(Rule.model_construct(**known | unknown), measure(evaluation(TEN), ACCURACY)).outcome is Verdict.BROKEN


@pytest.mark.parametrize(
    ("bound", "at_the_limit"),
    [("above", Verdict.FAIL), ("min", Verdict.PASS), ("below", Verdict.FAIL), ("max", Verdict.PASS)],
)
def test_a_number_at_its_limit(bound: str, at_the_limit: Verdict) -> None:
    assert decide(evaluation(TEN), spec(Rule(**{"metric": "accuracy", bound: 0.7}))).verdict is at_the_limit
