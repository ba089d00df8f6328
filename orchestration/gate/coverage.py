"""Whether the evaluation may be judged at all: each expected row once, with a result, and few enough failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from orchestration.gate import text
from orchestration.values import Evaluation, GradedRow, Status

Test = Callable[[GradedRow], bool]


def problems(evaluation: Evaluation, max_failed_ratio: float) -> list[str]:
    """Sentences that say why the evaluation can't be judged; empty if it can."""
    if evaluation.expected < 1:
        return ["The data has no rows, so there is nothing to judge."]
    return [*_extent(evaluation), *_soundness(evaluation), *_failures(evaluation, max_failed_ratio)]


def _extent(evaluation: Evaluation) -> Iterator[str]:
    """Every expected row is there, once. More keys than expected, or fewer, are told apart."""
    if evaluation.stopped is not None:
        yield f"The evaluation stopped early: {evaluation.stopped}."
    times = Counter(row.row.key for row in evaluation.rows)
    if len(times) < evaluation.expected:
        yield f"Only {len(times)} of {text.count(evaluation.expected, 'expected row')} have a result."
    if len(times) > evaluation.expected:
        yield f"{text.count(len(times), 'row')} have a result, but {evaluation.expected} were expected."
    twice = [key for key, many in times.items() if many > 1]
    if twice:
        yield f"Rows with more than one result: {text.names(twice)}."


def _soundness(evaluation: Evaluation) -> Iterator[str]:
    """Every result is what a result may be, and belongs to its row."""
    yield from _rows(evaluation, "with the result of another row", lambda r: r.row.key != r.result.key)
    yield from _rows(evaluation, "neither completed nor failed", lambda r: not isinstance(r.result.status, Status))
    yield from _rows(evaluation, "completed without an output", lambda r: _done(r) and r.result.output is None)
    yield from _rows(evaluation, "that the evaluation flow could not grade", lambda r: _done(r) and _refused(r))


def _rows(evaluation: Evaluation, what: str, test: Test) -> Iterator[str]:
    found = [_with_code(row) for row in evaluation.rows if test(row)]
    if found:
        yield f"{text.count(len(found), 'row')} {what}: {text.names(found)}."


def _failures(evaluation: Evaluation, max_failed_ratio: float) -> Iterator[str]:
    """The ratio counts what is missing, too. Written so that a limit which is no number is never met."""
    if not evaluation.completed:
        yield f"None of {text.count(evaluation.expected, 'row')} was completed{_which(evaluation)}."
    elif not evaluation.failed / evaluation.expected <= max_failed_ratio:
        limit = text.number(max_failed_ratio)
        failed = text.count(evaluation.failed, "row")
        yield f"{failed} of {evaluation.expected} failed, and max_failed_ratio is {limit}{_which(evaluation)}."


def _which(evaluation: Evaluation) -> str:
    failed = [_with_code(row) for row in evaluation.rows if not _done(row)]
    return f": {text.names(failed)}" if failed else ""


def _done(row: GradedRow) -> bool:
    return row.result.status is Status.COMPLETED


def _refused(row: GradedRow) -> bool:
    return row.grade_error is not None


def _with_code(row: GradedRow) -> str:
    error = row.result.error or row.grade_error
    return f"{row.row.key} ({error.code})" if error else row.row.key
