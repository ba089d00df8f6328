"""When the next request may be sent: pure logic over an injected clock, one controller per limit of a provider.

The wait is computed when a request is about to start and never booked ahead, so a change of the limit holds at
once for everything that has not been sent. What the provider tells (its limits, what is left, how long to wait) is
followed; what it does not tell is measured by its refusals (see `search.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestration.model_proxy.cost import Block, CostEstimate, Seen, Size
from orchestration.model_proxy.hints import Dimension, Hint, Hints
from orchestration.model_proxy.lane import Lane, Use
from orchestration.model_proxy.opening import Opening
from orchestration.values import Tokens

_SHARE_OF_REQUESTS, _SHARE_OF_TOKENS = 0.99, 0.975  # of a told limit: the rest lets the provider's bucket recover
_PATIENCE = 3.0  # refusals within about 100 answers that a told limit may cause before it is no longer believed
_LONGEST_PERIOD = 60.0  # seconds
_FORGIVEN = 0.03  # of a refusal, by each answer


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request on its way: when it was sent, and what it took of each dimension."""

    sent: float
    size: Size
    block: Block
    uses: dict[Dimension, Use]


class Controller:
    """Paces the requests under one limit. `scouts` bounds the requests in flight until the first answer."""

    def __init__(
        self,
        *,
        now: Callable[[], float],
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        scouts: int | None = None,
    ) -> None:
        start = now()
        self._now = now
        self._lanes: dict[Dimension, Lane] = {
            "requests": Lane(requests_per_minute, share=_SHARE_OF_REQUESTS, now=start),
            "tokens": Lane(tokens_per_minute, share=_SHARE_OF_TOKENS, now=start),
        }
        self._opening = Opening(scouts)
        if requests_per_minute:
            self._opening.end()
        self._cost = CostEstimate(assume_longest=tokens_per_minute is None)
        self._in_flight = 0
        self._resume = self._reacted = -math.inf
        self._strikes = 0.0

    def wait(self, size: Size) -> float:
        """Seconds until a request of that size may be sent; 0 is now, inf is not before an answer."""
        now = self._now()
        waits = (self._lanes[name].wait(cost, now) for name, cost in self._costs(size).items())
        return max(0.0, self._resume - now, self._opening.wait(self._in_flight, now), *waits)

    def pause(self) -> float:
        """Seconds for which nothing is sent at all, whatever its size."""
        return max(0.0, self._resume - self._now())

    def start(self, size: Size) -> Ticket:
        """A request is sent now."""
        now = self._now()
        self._in_flight += 1
        self._opening.sent(now)
        uses = {name: self._lanes[name].take(cost, now) for name, cost in self._costs(size).items()}
        return Ticket(now, size, self._cost.sent(now, rate=self._refill), uses)

    def answered(self, ticket: Ticket, hints: Hints, *, tokens: Tokens | None = None) -> None:
        """The provider admitted the request; `tokens` is what it says it used."""
        self._in_flight -= 1
        self._opening.end()
        self._strikes = max(0.0, self._strikes - _FORGIVEN)
        if ticket.sent > self._reacted:
            for name, use in ticket.uses.items():
                self._lanes[name].admitted(use)
        if tokens:
            self._cost.used(ticket.size, tokens)
        self._follow(ticket, hints)
        left = hints.tokens.remaining
        seen = None if left is None else Seen(left, ticket.sent, ticket.size)
        self._cost.resolved(ticket.block, seen, rate=self._refill)

    def refused(self, ticket: Ticket, hints: Hints) -> None:
        """The provider answered 429."""
        self.lost(ticket)
        now = self._now()
        for name, use in ticket.uses.items():
            self._lanes[name].give_back(use)
        if hints.retry_after is not None:
            self._hold(now + hints.retry_after)
        news = self._follow(_after_refund(ticket), hints)
        if ticket.sent <= self._reacted:
            return
        self._reacted = now
        self._react(_after_refund(ticket), hints, news=news)

    def lost(self, ticket: Ticket) -> None:
        """Nobody knows whether the provider saw the request."""
        self._in_flight -= 1
        self._cost.resolved(ticket.block, None, rate=self._refill)

    @property
    def _refill(self) -> float:
        return self._lanes["tokens"].rate or 0.0

    def _costs(self, size: Size) -> dict[Dimension, float]:
        return {"requests": 1.0, "tokens": self._cost.of(size)}

    def _follow(self, ticket: Ticket, hints: Hints) -> bool:
        """Take over told limits and what is left of them; True if a limit is new."""
        news = False
        for name, lane in self._lanes.items():
            hint = hints.of(name)
            news |= lane.tell(hint.limit)
            if hint.remaining is not None:
                lane.synchronise(hint.remaining, ticket.uses[name], sent=ticket.sent, now=self._now())
        return news

    def _react(self, ticket: Ticket, hints: Hints, *, news: bool) -> None:
        name = hints.limited or "requests"
        lane, use = self._lanes[name], ticket.uses[name]
        lane.adapt_burst(use)
        if name == "tokens" and lane.limit is not None and not news:
            self._cost.refused()
        self._strikes += 1
        if lane.limit is not None and (news or self._strikes <= _PATIENCE):
            lane.synchronise(0.0, use, sent=ticket.sent, now=self._now())
            return
        pause = lane.search(use, sent=ticket.sent, now=self._now())
        if hints.retry_after is None:
            self._hold(self._now() + (_until_whole(hints.of(name)) or pause))

    def _hold(self, until: float) -> None:
        self._resume = max(self._resume, until)
        for lane in self._lanes.values():
            lane.hold(until)


def _until_whole(hint: Hint) -> float | None:
    """Providers that tell no limit count in periods: nothing more is admitted before the next one."""
    exhausted = hint.limit is None and hint.remaining == 0
    return min(hint.reset, _LONGEST_PERIOD) if exhausted and hint.reset else None


def _after_refund(ticket: Ticket) -> Ticket:
    """The same uses, as if their own refund had come before them: it does not count as taken back since."""
    uses = {name: replace(use, refunded=use.refunded + use.cost) for name, use in ticket.uses.items()}
    return replace(ticket, uses=uses)
