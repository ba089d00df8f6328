"""Decisions: stable, complete, and refused wherever something does not fit."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration.decisions import (
    authorizes,
    hash_of_rules,
    make_decision,
    read_decision,
    storable,
    table_lines,
)
from orchestration.errors import EvaluationBroken, NotAuthorized
from orchestration.values import (
    Binding,
    Candidate,
    Decision,
    Evaluation,
    GradedRow,
    Row,
    RowError,
    RowResult,
    RuleResult,
    Status,
    Tokens,
    Verdict,
    canonical,
    sha256,
)

CANDIDATE = Candidate(
    prompt_flow="greeting",
    id="cand",
    commit="c" * 40,
    dirty=False,
    content_hash="content-1",
    data_hash="data-1",
    evaluator_hash="evaluator-1",
    rules_hash="rules-1",
    lock_hash="lock-1",
    evaluator_lock_hash="evaluator-lock-1",
    folder=Path("candidates/cand"),
)
AOAI = {"kind": "openai", "api_base": "https://model.invalid", "api_version": None, "model_deployment": "small"}
BINDING = Binding("qa", {"aoai": AOAI}, "binding-1")  # as `settings.bind` describes one
RULE = RuleResult("accuracy above 0.60", 0.7, 0.6, Verdict.PASS, "accuracy 0.70 is above 0.60.")
FITTING = {"content_hash": "content-1", "binding_hash": "binding-1", "environment": "qa"}


def graded_row(key: str, line: int, **changes: Any) -> GradedRow:
    result = RowResult(key, Status.COMPLETED, {"answer": "é"}, seconds=0.25, tokens=Tokens(3, 4))
    return GradedRow(Row(key, line, {"q": 1}, {"q": 1}), replace(result, **changes), {"grade": "Correct"})


def evaluated(*rows: GradedRow, **changes: Any) -> Evaluation:
    rows = rows or (graded_row("a", 1), graded_row("b", 2))
    return Evaluation(
        **{"id": "evaluation-1", "expected": len(rows), "rows": rows, "logged": {"accuracy": 0.7}} | changes
    )


def decision(**changes: Any) -> Decision:
    arguments: dict[str, Any] = {
        "verdict": Verdict.PASS,
        "reasons": ("accuracy 0.70 is above 0.60.",),
        "rules": (RULE,),
        "metrics": {"accuracy": 0.7, "cost_per_row": None},
        "sources": {"accuracy": "rows", "cost_per_row": "built-in"},
        "candidate": CANDIDATE,
        "binding": BINDING,
        "evaluation": evaluated(),
        "table_sha256": "table-1",
        "rules_hash": "rules-and-floors-1",
        "versions": {"sluice": "0.1.0"},
        "previous": None,
        "made_at": "2026-01-02T03:04:05Z",
    }
    return make_decision(**arguments | changes)


def test_the_same_verdict_has_the_same_hash_and_every_fact_changes_it() -> None:
    same = decision()
    assert same.sha256 == decision().sha256 == sha256(canonical(same.document))
    changes: list[dict[str, Any]] = [
        {"candidate": replace(CANDIDATE, content_hash="other")},
        {"candidate": replace(CANDIDATE, dirty=True)},
        {"binding": replace(BINDING, binding_hash="other")},
        {"binding": replace(BINDING, environment="prod")},
        {"table_sha256": "other"},
        {"rules_hash": "other"},
        {"metrics": {"accuracy": 0.71, "cost_per_row": None}},
        {"rules": (replace(RULE, limit=0.5),)},
        {"evaluation": evaluated(id="other")},
        {"made_at": "2027-01-02T03:04:05Z"},
    ]
    assert len({decision(**change).sha256 for change in changes} | {same.sha256}) == len(changes) + 1


def test_the_document_holds_what_the_verdict_rests_on() -> None:
    document = decision().document
    assert document["hashes"] == {
        "content": "content-1",
        "lock": "lock-1",
        "data": "data-1",
        "evaluator": "evaluator-1",
        "evaluator_lock": "evaluator-lock-1",
        "rules": "rules-and-floors-1",
        "binding": "binding-1",
        "table": "table-1",
        "evaluation": "evaluation-1",
    }
    assert document["metrics"]["accuracy"] == {"value": 0.7, "from": "rows"}
    assert document["totals"]["tokens"] == {"prompt": 6, "completion": 8}
    assert document["rows"] == {"expected": 2, "completed": 2, "failed": 0, "cached": 0}
    assert document["connections"] == {"aoai": {"model": "small"}}
    assert "model.invalid" not in json.dumps(document)


def test_a_stored_decision_reads_back_as_it_was_made() -> None:
    made = decision()
    assert read_decision(canonical(made.document), expected_sha256=made.sha256) == made.document


def test_a_changed_decision_is_refused() -> None:
    made = decision(verdict=Verdict.FAIL)
    forged = canonical(made.document).replace(b'"verdict":"FAIL"', b'"verdict":"PASS"')
    assert json.loads(forged)["verdict"] == "PASS"
    with pytest.raises(NotAuthorized, match="changed after it was made"):
        read_decision(forged, expected_sha256=made.sha256)


def test_a_pass_needs_rules_that_all_pass() -> None:
    for rules in ((), (RULE, replace(RULE, outcome=Verdict.FAIL))):
        with pytest.raises(EvaluationBroken):
            decision(rules=rules)


@pytest.mark.parametrize("name", ["rules", "data", "evaluator"])
def test_it_says_what_differs_from_what_serves(name: str) -> None:
    serving = decision().document["hashes"]
    assert decision(previous=None).document["differs_from_serving"] is None
    assert decision(previous=serving).document["differs_from_serving"] == []
    assert decision(previous=serving | {name: "older", "table": "older"}).document["differs_from_serving"] == [name]
    assert decision(previous={}).document["differs_from_serving"] == ["rules", "data", "evaluator"]


def test_a_broken_evaluation_can_be_written_down_whatever_was_logged() -> None:
    logged = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 10**30, "e": "\ud800", "f": [True, {"g": math.nan}]}
    made = decision(
        verdict=Verdict.BROKEN,
        rules=(replace(RULE, value=None, limit=math.inf, outcome=Verdict.BROKEN),),
        evaluation=evaluated(logged=logged),
    )
    assert made.document["logged"] == {
        "a": "NaN",
        "b": "Infinity",
        "c": "-Infinity",
        "d": str(10**30),
        "e": "\\ud800",
        "f": [True, {"g": "NaN"}],
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(alphabet=st.characters()),
    lambda children: st.lists(children) | st.dictionaries(st.text(alphabet=st.characters()), children),
    max_leaves=8,
)


@given(JSON)
@example({"\ud800": 1})
def test_anything_can_be_made_storable(value: Any) -> None:
    assert storable(storable(value)) == storable(value)
    canonical(storable(value))


def test_a_pass_authorizes_exactly_what_was_judged() -> None:
    authorizes(decision().document, **FITTING)


@pytest.mark.parametrize("name", FITTING)
@pytest.mark.parametrize("value", ["other", "", None])
def test_other_content_binding_or_environment_is_refused(name: str, value: Any) -> None:
    with pytest.raises(NotAuthorized):
        authorizes(decision().document, **FITTING | {name: value})


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.PASS])
def test_no_other_verdict_authorizes(verdict: Verdict) -> None:
    with pytest.raises(NotAuthorized, match=f"its verdict is {verdict.value}, not PASS"):
        authorizes(decision(verdict=verdict).document, **FITTING)


DOCUMENT = decision().document


@pytest.mark.parametrize("key", ["schema", "verdict", "environment", "hashes", "rules"])
@given(value=JSON)
def test_a_document_with_anything_else_in_a_place_that_counts_is_refused(key: str, value: Any) -> None:
    with pytest.raises(NotAuthorized):
        authorizes({**DOCUMENT, key: value}, **FITTING)
    with pytest.raises(NotAuthorized):
        authorizes({k: v for k, v in DOCUMENT.items() if k != key}, **FITTING)


def test_an_empty_hash_never_fits_an_empty_hash() -> None:
    made = decision(candidate=replace(CANDIDATE, content_hash=""))
    with pytest.raises(NotAuthorized):
        authorizes(made.document, **FITTING | {"content_hash": ""})


def test_floors_are_part_of_the_rules() -> None:
    assert hash_of_rules("rules-1", None) != hash_of_rules("rules-1", {"min_rows": 5}) != hash_of_rules("rules-2", None)


def test_the_table_is_in_the_order_of_the_data_and_repeats_from_stored_rows() -> None:
    first = table_lines(evaluated(graded_row("b", 2), graded_row("a", 1)))
    assert [json.loads(line)["key"] for line in first.splitlines()] == ["a", "b"]
    again = table_lines(evaluated(graded_row("a", 1, cached=True, attempts=2), graded_row("b", 2, cached=True)))
    assert first == again


def test_the_table_keeps_output_grades_and_codes_but_no_messages() -> None:
    error = RowError("Raised", "connection to port 40123 was lost", "flow.py:3")
    line = table_lines(evaluated(graded_row("a", 1, status=Status.FAILED, output=None, error=error)))
    assert json.loads(line) == {
        "key": "a",
        "line": 1,
        "status": "failed",
        "output": None,
        "error": {"code": "Raised", "where": "flow.py:3"},
        "grades": {"grade": "Correct"},
        "grade_error": None,
        "seconds": 0.25,
        "tokens": {"prompt": 3, "completion": 4},
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**30, "\ud800", {"\ud800": 1}])
def test_a_value_that_canonical_json_cannot_hold_names_its_row(value: Any) -> None:
    with pytest.raises(EvaluationBroken, match="Row a"):
        table_lines(evaluated(graded_row("a", 1, output={"answer": value})))
