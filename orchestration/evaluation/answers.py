"""Answers of one flow to many rows: from the row store where they are known, from a runner where they are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.evaluation.description import Description
from orchestration.evaluation.outcomes import Ended, read_tokens
from orchestration.evaluation.progress import Meter
from orchestration.evaluation.row_store import RowStore
from orchestration.evaluation.schedule import Limits, Schedule
from orchestration.evaluation.scheduler import RunnerSession
from orchestration.values import Json, RowResult, Status

Inputs = Mapping[str, Json]


@dataclass(frozen=True)
class Asked:
    """Rows to be answered: their names, inputs and store keys, with those answers that are known already."""

    names: Sequence[str]
    inputs: Sequence[Inputs]
    keys: Sequence[str]
    known: Mapping[str, Any]

    @property
    def missing(self) -> list[int]:
        """Positions of the rows that have to be run."""
        return [i for i, key in enumerate(self.keys) if key not in self.known]


@dataclass(frozen=True)
class Desk:
    """Where one flow's rows are answered."""

    session: RunnerSession
    store: RowStore
    meter: Meter
    limits: Limits
    fresh: bool

    def ask(self, names: Sequence[str], inputs: Sequence[Inputs], keys: Sequence[str]) -> Asked:
        """Look up which answers are known."""
        return Asked(names, inputs, keys, {} if self.fresh else self.store.get(keys))

    def warm(self) -> None:
        """Start in the background what will be needed."""
        self.session.warm()

    async def aggregate(self, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Sequence[Any]]) -> Any:
        """What the flow's aggregation logs over these lists. Raises `RunnerFailed`."""
        return await self.session.aggregate(inputs, outputs)

    async def answer(self, asked: Asked, description: Description) -> tuple[list[RowResult], str | None]:
        """A result for every row, in their order, and why it was stopped early, if it was. Raises `RunnerFailed`."""
        missing = asked.missing
        results = [_stored(n, asked.known.get(k)) for n, k in zip(asked.names, asked.keys, strict=True)]
        self.meter.cached(len(results) - len(missing))

        def ended(position: int, how: Ended) -> None:
            row = missing[position]
            results[row] = how.named(asked.names[row])
            self.meter.ended(how)
            if how.status is Status.COMPLETED:
                self.store.put(asked.keys[row], storable(how))

        schedule = Schedule([asked.inputs[i] for i in missing], self.limits, outputs=description.outputs, ended=ended)
        if missing:
            await self.session.run(schedule)
        self.meter.report()
        return [result for result in results if result is not None], schedule.stopped


def storable(how: Ended) -> dict[str, Any]:
    """A completed row as the store keeps it."""
    tokens = {"prompt": how.tokens.prompt, "completion": how.tokens.completion}
    return {"output": how.output, "seconds": how.seconds, "tokens": tokens, "attempts": how.attempts}


def _stored(name: str, value: Any) -> RowResult | None:
    if value is None:
        return None
    tokens = read_tokens(value["tokens"])
    ended = Ended(Status.COMPLETED, value["output"], None, value["seconds"], tokens, (), value["attempts"])
    return ended.named(name, cached=True)
