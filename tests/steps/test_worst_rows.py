"""What is said of rows in Prefect's UI: which, and with which code, but nothing that user code said."""

from __future__ import annotations

from rollouts import Rollouts

from orchestration.steps.evaluate import Judged
from orchestration.steps.outcome import worst_rows
from orchestration.steps.prepare import Runtimes
from orchestration.values import Decision, Evaluation, GradedRow, Row, RowError, RowResult, Status, Verdict

SECRET = "the customer's own words"


def graded(number: int, right: float) -> GradedRow:
    row = Row(f"r{number}", number, {"question": SECRET}, {"question": SECRET, "truth": SECRET})
    return GradedRow(row, RowResult(row.key, Status.COMPLETED, {"answer": SECRET}), {"right": right, "why": SECRET})


def failed(number: int) -> GradedRow:
    row = Row(f"r{number}", number, {"question": SECRET}, {})
    error = RowError("Raised", f"ValueError: {SECRET}", "tiny.py:7")
    return GradedRow(row, RowResult(row.key, Status.FAILED, error=error))


def judged(rows: list[GradedRow]) -> Judged:
    decision = Decision(Verdict.FAIL, (), (), {}, {}, "d" * 64)
    return Judged(Evaluation("e", len(rows), tuple(rows)), decision, Runtimes(prompt_flow=None, evaluator=None))


def test_keys_codes_and_grades_and_no_words_of_user_code(rollouts: Rollouts) -> None:
    shown = worst_rows(rollouts.work("blue"), judged([graded(1, 1.0), graded(2, 0.0), failed(3)]))
    assert shown == [{"row": "r3", "problem": "Raised tiny.py:7"}, {"row": "r2", "problem": "right = 0.0"}]
    assert SECRET not in str(shown)


def test_the_worst_of_many(rollouts: Rollouts) -> None:
    rows = [graded(number, 0.0) for number in range(30)] + [failed(30)]
    assert [each["row"] for each in worst_rows(rollouts.work("blue"), judged(rows), most=3)] == ["r30", "r0", "r1"]
