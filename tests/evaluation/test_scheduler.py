"""Runners that die, fall silent or talk nonsense: replaced, a bounded number of times."""

from __future__ import annotations

import asyncio

import pytest

from orchestration.errors import RunnerFailed
from orchestration.evaluation.description import Description
from orchestration.evaluation.schedule import Limits, Schedule
from orchestration.evaluation.scheduler import RunnerSession

DESCRIPTION = Description("callable", "callable", {}, {}, aggregation=True)


class Paper:
    """A runner on paper: `behave(message)` gives its answers; None is its death, and [] is silence."""

    description = DESCRIPTION

    def __init__(self, behave):
        self._behave = behave
        self._lines: asyncio.Queue = asyncio.Queue()
        self.exit_cause = None
        self.killed = False

    def send(self, messages):
        for message in messages:
            for answer in [None] if (said := self._behave(message)) is None else said:
                self._lines.put_nowait(answer)

    async def receive(self):
        message = await self._lines.get()
        if message is None:
            self.exit_cause = "exit code 7"
            return []
        return [message]

    async def ended(self):
        return self.exit_cause

    async def close(self):
        self.kill()

    def kill(self):
        self.killed = True
        self._lines.put_nowait(None)


def ok(message):
    return [{"type": "result", "id": message["id"], "status": "completed", "output": {}, "seconds": 0, "tokens": {}}]


def run(behave, rows=6, **options):
    runners, ends = [], {}

    async def start():
        runners.append(Paper(behave))
        return runners[-1]

    def ended(row, how):
        assert row not in ends
        ends[row] = how

    async def main():
        schedule = Schedule([{"n": n} for n in range(rows)], Limits(3, 60), outputs=(), ended=ended)
        async with RunnerSession(start, **{"stop": lambda: None} | options) as session:
            await session.run(schedule)
        assert sorted(ends) == list(range(rows))
        return schedule

    schedule = asyncio.run(main())
    assert all(runner.killed for runner in runners)
    return schedule, [ends[row].error and ends[row].error.code for row in range(rows)], runners


def test_a_runner_that_dies_of_one_row_is_replaced_and_the_row_is_the_culprit():
    schedule, codes, runners = run(lambda m: None if m.get("inputs") == {"n": 1} else ok(m))
    assert codes == [None, "Crashed", None, None, None, None]
    assert len(runners) == 3
    assert schedule.stopped is None


def test_a_silent_runner_is_killed_and_replaced():
    silent = iter([True])
    _, codes, runners = run(lambda m: [] if next(silent, False) else ok(m), silence_seconds=0.1)
    assert codes == [None] * 6
    assert len(runners) == 2


def test_a_runner_that_keeps_dying_is_not_replaced_for_ever():
    schedule, codes, runners = run(lambda _: None, rows=50, most_runners=5)
    assert len(runners) == 5
    assert "died too often" in schedule.stopped
    assert set(codes) == {"Crashed", "Missing"}


def test_a_reason_to_stop_ends_rows_in_flight_and_rows_not_sent():
    reasons = iter([None, None, "the spending ceiling was reached"])
    schedule, codes, _ = run(lambda _: [], stop=lambda: next(reasons, "the spending ceiling was reached"))
    assert codes == ["Missing"] * 6
    assert schedule.stopped == "the spending ceiling was reached"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "died in the aggregation"),
        ([{"type": "failed", "code": "Raised", "message": "ZeroDivisionError", "where": "a.py:3"}], "a.py:3: ZeroDiv"),
        ([{"type": "metrics"}], "no mapping"),
    ],
)
def test_an_aggregation_without_metrics_raises(answer, said):
    async def start():
        return Paper(lambda _: answer)

    async def main():
        async with RunnerSession(start, stop=lambda: None) as session:
            await session.aggregate({}, {})

    with pytest.raises(RunnerFailed, match=said):
        asyncio.run(main())


def test_metrics_are_passed_on_as_they_are():
    async def start():
        return Paper(lambda _: [{"type": "heartbeat"}, {"type": "metrics", "values": {"a": "NaN"}}])

    async def main():
        async with RunnerSession(start, stop=lambda: None) as session:
            return await session.aggregate({}, {})

    assert asyncio.run(main()) == {"a": "NaN"}
