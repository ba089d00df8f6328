"""Lets requests through one by one as the controller allows: one timer for all that wait, oldest first."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from dataclasses import dataclass, field

from orchestration.model_proxy.controller import Controller, Ticket
from orchestration.model_proxy.cost import Size
from orchestration.model_proxy.hints import Hints
from orchestration.values import Tokens


@dataclass(frozen=True, slots=True)
class Visitor:
    """A request of a prompt flow, over all its attempts. `deadline` is on the loop's clock."""

    arrival: int
    size: Size
    deadline: float


@dataclass(order=True, slots=True)
class _Waiting:
    arrival: int
    size: Size = field(compare=False)
    passed: asyncio.Future[Ticket] = field(compare=False)


class Turnstile:
    """Belongs to one event loop; the controller's clock must be the loop's."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._loop = asyncio.get_running_loop()
        self._arrivals = itertools.count()
        self._waiting: list[_Waiting] = []
        self._timer: asyncio.TimerHandle | None = None

    def visitor(self, size: Size, *, patience: float) -> Visitor:
        """A new request, which may wait for `patience` seconds altogether."""
        return Visitor(next(self._arrivals), size, self._loop.time() + patience)

    async def enter(self, visitor: Visitor) -> Ticket:
        """Wait for the turn. Raises `TimeoutError` when the deadline passes, or is sure to pass, before it."""
        if not self._waiting and self._controller.wait(visitor.size) <= 0:
            return self._controller.start(visitor.size)
        if self._loop.time() + self._controller.pause() >= visitor.deadline:
            raise TimeoutError
        waiting = _Waiting(visitor.arrival, visitor.size, self._loop.create_future())
        heapq.heappush(self._waiting, waiting)
        self._advance()
        try:
            async with asyncio.timeout_at(visitor.deadline):
                return await waiting.passed
        except (TimeoutError, asyncio.CancelledError):
            self._leave(waiting)
            raise

    def answered(self, ticket: Ticket, hints: Hints, tokens: Tokens | None) -> None:
        """The provider let the request in."""
        self._controller.answered(ticket, hints, tokens=tokens)
        self._advance()

    def refused(self, ticket: Ticket, hints: Hints) -> None:
        """The provider answered 429."""
        self._controller.refused(ticket, hints)
        self._advance()

    def lost(self, ticket: Ticket) -> None:
        """There was no answer."""
        self._controller.lost(ticket)
        self._advance()

    def _leave(self, waiting: _Waiting) -> None:
        if waiting.passed.done() and not waiting.passed.cancelled():
            self._controller.lost(waiting.passed.result())
        waiting.passed.cancel()
        self._advance()

    def _advance(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            first = self._waiting[0]
            if first.passed.done():
                heapq.heappop(self._waiting)
                continue
            wait = self._controller.wait(first.size)
            if wait > 0:
                self._wait(wait)
                return
            heapq.heappop(self._waiting)
            first.passed.set_result(self._controller.start(first.size))

    def _wait(self, seconds: float) -> None:
        if not math.isinf(seconds):
            self._timer = self._loop.call_later(seconds, self._advance)
