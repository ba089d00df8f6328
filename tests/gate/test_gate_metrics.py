"""What each metric counts, and how sentences show numbers."""

from __future__ import annotations

from typing import Any

import pytest
from gate_samples import ACCURACY, MEAN, evaluation, failed, graded, row

from orchestration.gate.metrics import measure
from orchestration.gate.text import number
from orchestration.settings.model import Prices
from orchestration.specs import BUILT_IN_METRICS, Metric
from orchestration.values import Tokens


def value(name: str, *args: Any) -> float | None:
    return measure(*args)[name].value


def test_p95_is_the_nearest_rank_over_completed_rows_stored_ones_included() -> None:
    rows = [row(str(i), seconds=float(i), cached=i % 2 == 0) for i in range(1, 41)]
    assert value("p95_seconds", evaluation([*rows, failed("slow")]), {}) == 38.0
    assert value("p95_seconds", evaluation(rows[:1]), {}) == 1.0


def test_an_answer_costs_what_all_rows_used_over_the_completed_ones() -> None:
    rows = [row("a", tokens=Tokens(1000, 100)), row("b", tokens=Tokens(1000, 100)), failed("c")]
    rows[2] = row("c", status=rows[2].result.status, output=None, tokens=Tokens(2000, 0))
    assert value("tokens_per_row", evaluation(rows), {}) == 2100
    assert value(
        "cost_per_row", evaluation(rows), {}, Prices(prompt_per_million=2.0, completion_per_million=10.0)
    ) == pytest.approx(0.005)


def test_without_prices_there_is_no_cost_and_no_problem() -> None:
    cost = measure(evaluation(graded(1)), {})["cost_per_row"]
    assert (cost.value, cost.problem) == (None, "")


def test_failed_ratio_is_of_the_expected_rows() -> None:
    assert value("failed_ratio", evaluation(graded(6, 0, 2), expected=8), {}) == 0.25


@pytest.mark.parametrize(
    ("wanted", "right", "wrong", "other"),
    [
        ("Correct", "Correct", "correct", True),
        (True, True, False, 1),
        (1, 1.0, 2, True),
        (1, 1, 0, "1"),
    ],
)
def test_equals_wants_the_same_kind(wanted: Any, right: Any, wrong: Any, other: Any) -> None:
    metrics = {"m": Metric(column="grade", equals=wanted)}
    rows = [row("a", {"grade": right}), row("b", {"grade": wrong})]
    assert value("m", evaluation(rows), metrics) == 0.5
    assert "row c" in measure(evaluation([*rows, row("c", {"grade": other})]), metrics)["m"].problem


def test_nothing_equals_a_value_that_is_no_number() -> None:
    metrics = {"m": Metric(column="grade", equals=float("nan"))}
    assert measure(evaluation([row("a", {"grade": float("nan")})]), metrics)["m"].problem


def test_sums_are_of_the_decimals_as_written() -> None:
    rows = [row(str(i), {"score": score}) for i, score in enumerate([0.1, 0.2, 0.3])]
    assert value("accuracy", evaluation(rows), MEAN) == 0.2


@pytest.mark.parametrize("logged", [0.58, 0.579, 0.5792, 139 / 240, 0.6])
def test_a_logged_number_may_be_rounded(logged: float) -> None:
    assert not measure(evaluation(graded(139, 101), {"accuracy": logged}), ACCURACY)["accuracy"].problem


@pytest.mark.parametrize("logged", [0.57, 0.59, 0.5793, 1, 0, 58.0, True, "0.58", None])
def test_a_logged_number_that_is_not_ours_names_both(logged: Any) -> None:
    problem = measure(evaluation(graded(139, 101), {"accuracy": logged}), ACCURACY)["accuracy"].problem
    assert "logged" in problem
    assert "accuracy" in problem


def test_the_evaluation_flow_logs_over_the_rows_that_it_saw() -> None:
    measured = measure(evaluation(graded(2, 0, 6), {"accuracy": 1.0}), ACCURACY)["accuracy"]
    assert (measured.value, measured.upper, measured.problem) == (0.25, 1.0, "")


def test_another_name_can_be_compared() -> None:
    metrics = {"accuracy": Metric(column="score", logged="acc")}
    assert "acc 0.2" in measure(evaluation(graded(1, 1), {"acc": 0.2, "accuracy": 0.9}), metrics)["accuracy"].problem


def test_an_aggregate_is_shown_even_where_no_rule_may_rest_on_it() -> None:
    metrics = {"quality": Metric(**{"from": "aggregate"}, logged="q")}
    measured = measure(evaluation(graded(1, 0, 1), {"q": 3}), metrics)["quality"]
    assert (measured.value, measured.source, measured.problem) == (3.0, "aggregate", "")
    assert "1 row of 2" in measured.unfit


def test_a_ratio_has_no_upper_bound_once_a_row_failed() -> None:
    metrics = {"recall": Metric(column="found", over="wanted")}
    rows = [row("a", {"found": 1, "wanted": 2})]
    assert measure(evaluation(rows), metrics)["recall"].upper == 0.5
    assert measure(evaluation([*rows, failed("b")]), metrics)["recall"].upper is None


def test_a_ratio_refuses_negative_counts() -> None:
    metrics = {"recall": Metric(column="found", over="wanted")}
    assert measure(evaluation([row("a", {"found": -1, "wanted": 2})]), metrics)["recall"].problem


@pytest.mark.parametrize(
    ("shown", "beside", "text"),
    [
        (0.6, None, "0.60"),
        (0.598039, 0.6, "0.598"),
        (0.5999999, 0.6, "0.5999999"),
        (812.5, 800, "812.50"),
        (0.00002, None, "0.00002"),
        (0.3, 0.1 + 0.2, "0.3"),
    ],
)
def test_a_number_shows_as_many_decimals_as_it_takes(shown: float, beside: float | None, text: str) -> None:
    assert number(shown, beside) == text


def test_the_built_in_metrics_are_the_ones_that_sluice_yaml_may_name() -> None:
    assert tuple(measure(evaluation(graded(1)), {})) == BUILT_IN_METRICS
