"""Answers that were given elsewhere, as a desk has them: the engine stores, grades and judges them as its own.

A row for which nothing was recorded has failed, and so has what can't be read: as with a runner, only what is plainly
complete counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration.errors import RunnerFailed
from orchestration.evaluation.answers import Asked, Desk, storable
from orchestration.evaluation.description import Description
from orchestration.evaluation.outcomes import read_result
from orchestration.values import Json, RowResult, Status

MISSING = {
    "status": "failed",
    "error": {"code": "Missing", "message": "the run has no result for this row"},
    "seconds": 0.0,
}


class NotRecorded(Exception):
    """Something would have to be run."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One flow's results by the rows' names, in the words of the runner's `result` (docs/runner-protocol.md).

    `metrics` is what its aggregation logged; None if it logged nothing that could be read.
    """

    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Mapping[str, Json] | None = None


@dataclass(frozen=True)
class RecordedDesk(Desk):
    """A desk where nothing is run: answers are those that were recorded; without `recorded` those that are stored.

    Raises `NotRecorded` where neither will do.
    """

    recorded: Recorded | None = None

    def warm(self) -> None:
        """Nothing will run."""

    async def answer(self, asked: Asked, description: Description) -> tuple[list[RowResult], str | None]:
        """A result for every row, in their order."""
        if self.recorded is None:
            if asked.missing:
                raise NotRecorded
            return await super().answer(asked, description)
        results = [
            self._recorded(self.recorded, name, key, description)
            for name, key in zip(asked.names, asked.keys, strict=True)
        ]
        self.meter.report()
        return results, None

    async def aggregate(self, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Sequence[Any]]) -> Any:  # noqa: ARG002 - the other desk's
        """What the aggregation logged."""
        if self.recorded is None:
            raise NotRecorded
        if self.recorded.metrics is None:
            raise RunnerFailed("Missing", "the run has no metrics.")
        return dict(self.recorded.metrics)

    def _recorded(self, recorded: Recorded, name: str, key: str, description: Description) -> RowResult:
        how = read_result(recorded.results.get(name, MISSING), description.outputs)
        self.meter.ended(how)
        if how.status is Status.COMPLETED:
            self.store.put(key, storable(how))
        return how.named(name)
