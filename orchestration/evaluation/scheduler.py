"""Runs a schedule against runners: the clock, the pipes, and another runner when one dies or falls silent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from orchestration.errors import RunnerFailed
from orchestration.evaluation.runner_client import Message, Runner
from orchestration.evaluation.schedule import Schedule

TICK_SECONDS = 0.05
SILENCE_SECONDS = 20.0  # the runner has a shorter limit of its own for its workers
MOST_RUNNERS = 20  # a row that kills the runner itself costs two
LAST_WORDS_SECONDS = 1.0


class RunnerSession:
    """One flow's runner: started when it is needed, replaced when it dies. An async context manager that ends it.

    `start` starts one and opens the flow in it. `stop` is asked every `TICK_SECONDS` why everything must stop now;
    it may raise.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[Runner]],
        *,
        stop: Callable[[], str | None],
        silence_seconds: float = SILENCE_SECONDS,
        most_runners: int = MOST_RUNNERS,
    ) -> None:
        self._start, self._stop = start, stop
        self._silence_seconds, self._left = silence_seconds, most_runners
        self._starting: asyncio.Task[Runner] | None = None
        self._silent_seconds = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._starting is None:
            return
        self._starting.cancel()  # without effect once it is started
        await asyncio.wait({self._starting})
        if self._starting.cancelled() or self._starting.exception():
            return
        if kind is None:
            await self._starting.result().close()
        else:
            self._starting.result().kill()

    def warm(self) -> None:
        """Start the runner in the background, if it isn't."""
        if self._starting is None:
            self._left -= 1
            self._starting = asyncio.ensure_future(self._start())

    async def runner(self) -> Runner:
        """The runner with its flow opened. Raises `RunnerFailed`."""
        self.warm()
        assert self._starting is not None
        return await asyncio.shield(self._starting)

    async def run(self, schedule: Schedule) -> None:
        """Until every row of the schedule has ended. Raises `RunnerFailed` if the flow can't be opened at first."""
        runner = await self.runner()
        while cause := await self._listen(runner, _Rows(schedule, runner, self._stop)):
            schedule.runner_died(cause)
            runner.kill()
            if schedule.done:
                self._starting = None
                return
            try:
                runner = await self._replace(cause)
            except RunnerFailed as error:
                schedule.stop(f"the runner could not be replaced: {error}")
                return

    async def aggregate(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the flow's aggregation logs over these lists. Raises `RunnerFailed`."""
        runner = await self.runner()
        runner.send([{"type": "aggregate", "inputs": inputs, "outputs": outputs}])
        answer = _Aggregation(self._stop)
        cause = await self._listen(runner, answer)
        if cause:
            runner.kill()
            self._starting = None
            raise RunnerFailed("Died", f"the runner died in the aggregation ({cause}).")
        return answer.values()

    async def _replace(self, cause: str) -> Runner:
        self._starting = None
        if not self._left:
            raise RunnerFailed("Died", f"it died too often, the last time with: {cause}.")
        return await self.runner()

    async def _listen(self, runner: Runner, listener: _Rows | _Aggregation) -> str | None:
        """Until the listener has heard enough (None), or the runner is gone (why)."""
        self._silent_seconds = 0.0
        reading = asyncio.ensure_future(self._read(runner, listener))
        try:
            while not listener.tick() and not reading.done():
                if gone := self._gone(runner):
                    runner.kill()
                    await asyncio.wait({reading}, timeout=LAST_WORDS_SECONDS)
                    return None if listener.done else gone
                await asyncio.wait({reading}, timeout=TICK_SECONDS)
                self._silent_seconds += TICK_SECONDS  # not by the clock: a pause of ours is no silence of the runner
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def _read(self, runner: Runner, listener: _Rows | _Aggregation) -> str | None:
        while messages := await runner.receive():
            self._silent_seconds = 0.0
            listener.hear(messages)
            if listener.done:
                return None
        return await runner.ended()

    def _gone(self, runner: Runner) -> str | None:
        if self._silent_seconds > self._silence_seconds:
            return f"silent for {self._silence_seconds:g} s"
        return runner.exit_cause


class _Rows:
    """Passes messages between a schedule and a runner."""

    def __init__(self, schedule: Schedule, runner: Runner, stop: Callable[[], str | None]) -> None:
        self._schedule, self._runner, self._stop = schedule, runner, stop

    @property
    def done(self) -> bool:
        return self._schedule.done

    def tick(self) -> bool:
        if reason := self._stop():
            self._schedule.stop(reason)
        now = time.monotonic()
        self._schedule.tick(now)
        self._runner.send(self._schedule.take(now))
        return self._schedule.done

    def hear(self, messages: list[Message]) -> None:
        now = time.monotonic()
        for message in messages:
            self._schedule.heard(message, now)
        self._runner.send(self._schedule.take(now))


class _Aggregation:
    """Waits for the answer to `aggregate`."""

    def __init__(self, stop: Callable[[], str | None]) -> None:
        self._stop = stop
        self._answer: Message | None = None
        self._stopped: str | None = None

    @property
    def done(self) -> bool:
        return self._answer is not None

    def tick(self) -> bool:
        self._stopped = self._stop()
        return self.done or self._stopped is not None

    def hear(self, messages: list[Message]) -> None:
        self._answer = next((m for m in messages if m["type"] in {"metrics", "failed"}), self._answer)

    def values(self) -> dict[str, Any]:
        answer = self._answer
        if answer is None:
            raise RunnerFailed("Stopped", f"the aggregation was stopped: {self._stopped}")
        if answer["type"] == "failed":
            raise RunnerFailed(
                str(answer.get("code")), str(answer.get("message")), where=str(answer.get("where") or "")
            )
        if not isinstance(answer.get("values"), dict):
            raise RunnerFailed("BadOutput", "the aggregation's answer is no mapping.")
        return dict(answer["values"])
