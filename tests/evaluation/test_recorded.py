"""Answers from elsewhere: graded, stored and counted as the engine's own, and nothing is called here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from evaluation_workspace import Workspace, without_runtime

from orchestration.errors import ConfigurationError
from orchestration.evaluation.engine import evaluate, outline, stored
from orchestration.evaluation.recorded import Recorded
from orchestration.values import Status

GOOD = {"status": "completed", "seconds": 0.5, "tokens": {"prompt": 3, "completion": 4}}


def recorded(names, answers, grades, metrics):
    """By row: an answer and a grade each, None where there is none."""
    flow = {name: {**GOOD, "output": {"answer": each}} for name, each in zip(names, answers, strict=True) if each}
    evaluator = {name: {**GOOD, "output": {"grade": each}} for name, each in zip(names, grades, strict=True)}
    return {"flow": Recorded(flow), "evaluator": Recorded(evaluator, metrics)}


def test_the_outline_names_rows_and_complete_mappings(workspace: Workspace):
    job = replace(workspace.job(rows=2, graded=True), key=None)
    found = outline(job)
    assert found.records == ({"text": "t0", "truth": "T0"}, {"text": "t1", "truth": "T1"})
    assert (len(set(found.names)), found.mapping) == (2, {"text": "${data.text}"})
    assert found.evaluator_mapping == {"answer": "${run.outputs.answer}", "truth": "${data.truth}"}
    assert workspace.calls() == []


def test_recorded_answers_become_rows_with_grades_and_are_stored(workspace: Workspace):
    job = workspace.job(rows=3, graded=True)
    names = outline(job).names
    answers = recorded(names, ["T0", None, "x"], [1.0, 1.0, 0.0], {"accuracy": 0.5})
    evaluation = evaluate(replace(job, fresh=True), recorded=answers)
    assert (workspace.calls(), workspace.calls("evaluator")) == ([], [])
    assert [row.result.status for row in evaluation.rows] == [Status.COMPLETED, Status.FAILED, Status.COMPLETED]
    assert [row.grades for row in evaluation.rows] == [{"grade": 1.0}, None, {"grade": 0.0}]
    assert evaluation.rows[1].result.error is not None
    assert evaluation.rows[1].result.error.code == "Missing"
    assert (evaluation.expected, evaluation.logged, evaluation.rows[0].result.tokens.total) == (3, {"accuracy": 0.5}, 7)
    assert stored(job) is None  # one row has to be run again


def test_what_is_complete_is_stored_and_needs_nothing(workspace: Workspace):
    job = workspace.job(rows=2, graded=True)
    assert stored(job) is None
    answers = recorded(outline(job).names, ["T0", "T1"], [1.0, 1.0], {"accuracy": 1.0})
    first = evaluate(replace(job, fresh=True), recorded=answers)
    again = stored(without_runtime(job))
    assert again is not None
    assert (again.id, again.cached, again.logged) == (first.id, 2, first.logged)
    assert workspace.calls() == []


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({**GOOD, "output": {}}, "NullOutput"),
        ({**GOOD, "output": None}, "BadOutput"),
        ({**GOOD, "output": {"answer": float("nan")}}, "BadOutput"),
        ({"status": "completed"}, "BadOutput"),
        ({"status": "failed", "seconds": 1, "error": {"code": "Raised", "message": "no"}}, "Raised"),
    ],
)
def test_only_what_is_plainly_complete_counts(workspace: Workspace, result, code):
    job = workspace.job(rows=1)
    evaluation = evaluate(replace(job, fresh=True), recorded={"flow": Recorded({outline(job).names[0]: result})})
    assert evaluation.rows[0].result.error is not None
    assert evaluation.rows[0].result.error.code == code


def test_without_metrics_the_evaluation_is_stopped(workspace: Workspace):
    job = workspace.job(rows=1, graded=True)
    answers = recorded(outline(job).names, ["T0"], [1.0], None)
    assert "has no metrics" in str(evaluate(replace(job, fresh=True), recorded=answers).stopped)


def test_bad_data_is_found_before_anything(workspace: Workspace):
    job = replace(workspace.job(rows=1), key="no_such_column")
    with pytest.raises(ConfigurationError):
        outline(job)
