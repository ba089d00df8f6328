"""The schema of `flows/<name>/sluice.yaml`: the one file that Sluicegate adds to an ordinary prompt flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestration.validation import Problem, between, nearest

Ratio = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=86_400)]  # seconds, most often
BUILT_IN_METRICS = ("failed_ratio", "p95_seconds", "tokens_per_row", "cost_per_row")
UNBOUNDED = frozenset(BUILT_IN_METRICS) - {"failed_ratio"}
LIMITS = ("above", "min", "below", "max")


class Spec(BaseModel):
    """Base of all that users write: unknown keys are refused, values are never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class Metric(Spec):
    """A number recomputed from the row grades: mean of `column`, or sum of `column` over sum of `over`.

    Failed rows count as wrong: they add 0 to the sum and 1 to the number of rows; in a ratio of sums they add to the
    second sum what a completed row adds on average.
    """

    column: str | None = Field(default=None, description="Output of the evaluation flow that grades a row.")
    equals: bool | int | float | str | None = Field(
        default=None, description="The grade that counts as right, where grades are words: `equals: Correct`."
    )
    over: str | None = Field(default=None, description="Second column, for ratios of sums (precision, recall).")
    logged: str | None = Field(
        default=None, description="Name under which the evaluation flow logs the same number; by default the metric's."
    )
    from_: Literal["rows", "aggregate"] = Field(
        default="rows", alias="from", description="`aggregate`: only the evaluation flow's logged number exists."
    )

    @model_validator(mode="after")
    def _rows_need_a_column(self) -> Self:
        if self.from_ == "rows" and self.column is None:
            raise ValueError("needs `column`, the evaluation flow's output that grades a row")
        if self.from_ == "aggregate" and (self.column or self.over or self.equals is not None):
            raise ValueError("`from: aggregate` has no `column`, `over` or `equals`")
        return self


class Rule(Spec):
    """One condition on one metric. Exactly one of above (>), min (>=), below (<), max (<=)."""

    metric: str = Field(
        description="A metric of this file, or a built-in: failed_ratio, p95_seconds, tokens_per_row, cost_per_row."
    )
    above: float | None = Field(default=None, description="The metric must be greater than this.")
    min: float | None = Field(default=None, description="The metric must be this or greater.")
    below: float | None = Field(default=None, description="The metric must be less than this.")
    max: float | None = Field(default=None, description="The metric must be this or less.")
    confidence: Literal["none"] = Field(default="none", description="`none`: the number itself is compared.")
    by: str | None = Field(default=None, description="Reserved for rules per slice; must be absent for now.")

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        limits = [n for n in LIMITS if getattr(self, n) is not None]
        if len(limits) != 1:
            raise ValueError("needs exactly one of above, min, below, max")
        if self.by is not None:
            raise ValueError("rules per slice (`by`) are not available yet")
        return self

    @property
    def limit(self) -> float:
        """The one limit that is set."""
        return next(v for v in (self.above, self.min, self.below, self.max) if v is not None)


class Gate(Spec):
    """When a candidate may ship."""

    rules: tuple[Rule, ...] = Field(default=(), description="All must hold.")
    min_rows: int = Field(default=1, ge=1, description="Fewer expected rows give INCONCLUSIVE.")
    max_failed_ratio: Ratio = Field(default=0.0, description="More failed rows than this give BROKEN.")


class Sample(Spec):
    """A request that every new online deployment must answer before it gets traffic."""

    inputs: dict[str, Any] = Field(description="The body of the request.")
    answer: dict[str, Any] = Field(description="JSON Schema that the answer must satisfy.")


class PromptFlowSpec(Spec):
    """flows/<name>/sluice.yaml"""

    key: str | None = Field(
        default=None, description="Column of the data that names a row; by default the hash of its inputs."
    )
    slices: tuple[str, ...] = Field(default=(), description="Columns of the data by which reports are sliced.")
    connections: tuple[str, ...] = Field(
        default=("aoai",), description="Names of the connections the prompt flow uses."
    )
    metrics: dict[str, Metric] = Field(default_factory=dict, description="Metrics by name.")
    gate: Gate = Field(description="The gate's rules.")
    sample: Sample = Field(description="The smoke test.")


def spec_problems(spec: PromptFlowSpec) -> Iterator[Problem]:
    """What is wrong between the keys of one sluice.yaml, which the schema of single keys can't say."""
    for name in spec.metrics.keys() & set(BUILT_IN_METRICS):
        yield Problem(("metrics", name), f"{name!r} is the name of a built-in metric.", "Choose another name.")
    yield from rule_problems(spec.gate.rules, spec.metrics)
    for index, name in enumerate(spec.connections):
        if name in spec.connections[:index]:
            yield Problem(("connections", index), f"the connection {name!r} is named twice.", "Remove one.")


def rule_problems(rules: Sequence[Rule], metrics: Mapping[str, Metric] | None = None) -> Iterator[Problem]:
    """Rules on metrics that don't exist, and limits that their metric can never reach.

    `metrics` is None for floors, which hold for any prompt flow: then each name is taken for a mean of grades.
    """
    for index, rule in enumerate(rules):
        loc = ("gate", "rules", index)
        known = () if metrics is None else (*metrics, *BUILT_IN_METRICS)
        if known and rule.metric not in known:
            yield Problem((*loc, "metric"), f"there is no metric {rule.metric!r}.", nearest(rule.metric, known))
        problem = _limit_problem(rule, (metrics or {}).get(rule.metric))
        if problem:
            limit = next(name for name in LIMITS if getattr(rule, name) is not None)
            yield Problem((*loc, limit), problem.message, problem.cure)


def _limit_problem(rule: Rule, metric: Metric | None) -> Problem | None:
    if rule.metric in UNBOUNDED:
        return Problem((), f"{rule.limit:g} is below 0, and {rule.metric} never is.") if rule.limit < 0 else None
    if metric and metric.from_ == "aggregate":
        return None
    return None if 0 <= rule.limit <= 1 else between(0, 1, rule.limit)
