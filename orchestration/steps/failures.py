"""What failed rows say, for the terminal: the messages of user code are in no decision, artifact or Prefect state."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestration.steps.users_words import EVALUATOR, FLOW, UsersWords
from orchestration.steps.work import Work
from orchestration.values import Evaluation, RowError

SHOWN = 3
LONGEST = 240
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def messages(work: Work, evaluation: Evaluation) -> tuple[str, ...]:
    """One line each for the first few failures that say something different; empty if nothing failed."""
    words = UsersWords.of(work.candidate)
    different: dict[str, str] = {}
    for what, side, error in _errors(evaluation):
        if len(different) < SHOWN:
            different.setdefault(error.message, f"{one_line(what)}: {line(words, side, error)}")
    return tuple(different.values())


def line(words: UsersWords, side: str, error: RowError) -> str:
    """`Raised: ValueError: no such thing (flows/x/node.py:3)`"""
    where = f" ({one_line(str(words.place(side, error.where)))})" if error.where else ""
    return f"{one_line(error.code)}: {one_line(words.text(error.message))}{where}"


def one_line(text: str) -> str:
    """Text of user code as a terminal may show it: one line, no control characters, not too long."""
    short = " ".join(printable(text).split())
    return short if len(short) <= LONGEST else f"{short[: LONGEST - 1]}…"


def printable(text: str) -> str:
    """Text of user code or of a model without what a terminal would obey."""
    return CONTROL.sub(" ", text)


def _errors(evaluation: Evaluation) -> Iterator[tuple[str, str, RowError]]:
    """What failed, in which of the two flows, and how."""
    if evaluation.aggregation_error is not None:
        yield "the aggregation", EVALUATOR, evaluation.aggregation_error
    for row in evaluation.rows:
        if row.result.error is not None:
            yield f"row {row.row.key}", FLOW, row.result.error
        if row.grade_error is not None:
            yield f"grading row {row.row.key}", EVALUATOR, row.grade_error
