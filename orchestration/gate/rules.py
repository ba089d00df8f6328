"""Rules held against metrics: each gives the verdict that it alone would give, with its evidence."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from orchestration.gate import text
from orchestration.gate.metrics import Measured, is_number
from orchestration.specs import Rule
from orchestration.values import RuleResult, Verdict

Compare = Callable[[float, float], bool]
COMPARISONS: Mapping[str, tuple[Compare, str]] = {
    "above": (operator.gt, "above"),
    "min": (operator.ge, "at least"),
    "below": (operator.lt, "below"),
    "max": (operator.le, "at most"),
}
CEILINGS = frozenset({"below", "max"})
CONFIDENCES = frozenset({"none"})
FLOOR = "floor of the environment"


def judge(rule: Rule, metrics: Mapping[str, Measured], *, floor: bool = False) -> RuleResult:
    """One rule. PASS only for a known, finite number on the right side of a finite limit; else FAIL or BROKEN."""
    bound = next(name for name in COMPARISONS if getattr(rule, name) is not None)
    title = f"{rule.metric} {bound} {text.number(rule.limit)}" + (f" ({FLOOR})" if floor else "")
    measured = metrics.get(rule.metric)
    problem = _problem(rule, measured)
    if problem or measured is None:
        return RuleResult(title, None, rule.limit, Verdict.BROKEN, f"{rule.metric}: {problem}.", by=rule.by)
    value = measured.upper if bound in CEILINGS else measured.value
    if not is_number(value):
        why = f"{rule.metric}: a ratio of sums has no upper bound while rows have failed."
        return RuleResult(title, None, rule.limit, Verdict.BROKEN, why, by=rule.by)
    return _compared(rule, bound, measured, value, title=title, floor=floor)


def _problem(rule: Rule, measured: Measured | None) -> str:
    """Why the rule can't be judged; empty if it can."""
    if rule.confidence not in CONFIDENCES or rule.by is not None:
        return "the gate does not know rules with confidence or slices"
    if not is_number(rule.limit):
        return "the rule's limit is not a finite number"
    if measured is None:
        return "no metric has this name"
    return measured.problem or measured.unfit or ("" if measured.value is not None else _unknown(rule.metric))


def _compared(rule: Rule, bound: str, measured: Measured, value: float, *, title: str, floor: bool) -> RuleResult:
    compare, phrase = COMPARISONS[bound]
    holds = compare(value, rule.limit)
    reason = text.sentence(
        (
            f"{rule.metric} {text.number(value, rule.limit)}",
            _evidence(measured, value),
            f"is {'' if holds else 'not '}{phrase} {text.number(rule.limit)}",
            f"({FLOOR})" if floor else "",
        )
    )
    return RuleResult(title, value, rule.limit, Verdict.PASS if holds else Verdict.FAIL, f"{reason}.", by=rule.by)


def _evidence(measured: Measured, value: float) -> str:
    if value != measured.value:
        return "(with the highest grade for each failed row)"
    return f"({measured.evidence})" if measured.evidence else ""


def _unknown(metric: str) -> str:
    return "no prices are set for this environment" if metric == "cost_per_row" else "there is no number"
