"""The verdict: BROKEN before FAIL before INCONCLUSIVE before PASS. PASS is only what is left when all else is ruled out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestration.gate import coverage, text
from orchestration.gate.metrics import Measured, Prices, measure
from orchestration.gate.rules import judge
from orchestration.specs import Gate, PromptFlowSpec, Rule
from orchestration.values import Evaluation, RuleResult, Verdict


class Floors(Protocol):
    """What an environment demands beyond the prompt flow's own gate. None: no demand."""

    @property
    def rules(self) -> Sequence[Rule]: ...
    @property
    def min_rows(self) -> int | None: ...
    @property
    def max_failed_ratio(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate says, and on what evidence. `sources` says of each metric where its number comes from."""

    verdict: Verdict
    reasons: tuple[str, ...]
    rules: tuple[RuleResult, ...]
    metrics: Mapping[str, float | None]
    sources: Mapping[str, str]


def decide(
    evaluation: Evaluation, spec: PromptFlowSpec, floors: Floors | None = None, *, prices: Prices | None = None
) -> GateResult:
    """Judge an evaluation by the prompt flow's gate and the environment's floors, the stricter of the two each time.

    Never raises for what an evaluation may hold: whatever can't be judged is BROKEN, with the reason.
    """
    min_rows, max_failed_ratio = strictest(spec.gate, floors)
    measured = measure(evaluation, spec.metrics, prices)
    rules = _judged(spec.gate, floors, measured)
    broken = [*coverage.problems(evaluation, max_failed_ratio), *_unsound(measured), *_of(rules, Verdict.BROKEN)]
    if not rules:
        broken.append("There are no rules to judge by: sluice.yaml:gate:rules is empty.")
    verdict, reasons = _verdict(broken, rules, expected=evaluation.expected, min_rows=min_rows)
    return GateResult(
        verdict=verdict,
        reasons=tuple(dict.fromkeys(reasons)),
        rules=rules,
        metrics={name: one.value for name, one in measured.items()},
        sources={name: one.source for name, one in measured.items()},
    )


def strictest(gate: Gate, floors: Floors | None) -> tuple[int, float]:
    """The least number of rows and the highest ratio of failed rows, neither weaker than the floors."""
    if floors is None:
        return gate.min_rows, gate.max_failed_ratio
    min_rows = gate.min_rows if floors.min_rows is None else max(gate.min_rows, floors.min_rows)
    ratios = (gate.max_failed_ratio, floors.max_failed_ratio)
    return min_rows, min(ratio for ratio in ratios if ratio is not None)


def _judged(gate: Gate, floors: Floors | None, measured: Mapping[str, Measured]) -> tuple[RuleResult, ...]:
    own = [judge(rule, measured) for rule in gate.rules]
    demanded = [judge(rule, measured, floor=True) for rule in (floors.rules if floors else ())]
    return (*own, *demanded)


def _verdict(
    broken: Sequence[str], rules: Sequence[RuleResult], *, expected: int, min_rows: int
) -> tuple[Verdict, list[str]]:
    if broken:
        return Verdict.BROKEN, [*broken]
    if failed := _of(rules, Verdict.FAIL):
        return Verdict.FAIL, failed
    if not expected >= min_rows:
        short = (
            f"The data has {text.count(expected, 'row')}; a verdict needs {min_rows}, so {min_rows - expected} more."
        )
        return Verdict.INCONCLUSIVE, [short]
    passed = _of(rules, Verdict.PASS)
    if len(passed) != len(rules):
        return Verdict.BROKEN, ["A rule gave neither PASS nor FAIL, which this gate does not know."]
    return Verdict.PASS, passed


def _of(rules: Iterable[RuleResult], outcome: Verdict) -> list[str]:
    return [rule.reason for rule in rules if rule.outcome is outcome]


def _unsound(measured: Mapping[str, Measured]) -> list[str]:
    """Every declared metric must be computable, with a rule on it or without."""
    return [f"{name}: {one.problem}." for name, one in measured.items() if one.problem]
