"""The pace of one dimension, requests or tokens: a bucket that fills at the rate believed to be the limit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestration.model_proxy.search import RateSearch

_LONGEST_BURST, _SHORTEST_BURST = 1.0, 0.05  # seconds of the rate that may be caught up at once after a lull
_RESERVE = 0.05  # seconds of the rate that are left in the provider's bucket
_CATCH_UP = 2.0  # times the rate: how fast a lull is caught up
_LULL = 2.0  # seconds without a request: what comes then is a new demand
_GRAIN = 0.01  # seconds: requests this close together need no timer between them
_CLOSE_TOGETHER = 8  # first requests without spacing: their answers show what a request costs (see cost.py)
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Use:
    """What a request took: its cost, and the lane's `gross` and `refunded` just after it was sent.

    `held` says that the lane's pace made it wait.
    """

    cost: float
    gross: float
    refunded: float
    held: bool = False
    catching_up: bool = False


class Lane:
    """Units are requests or tokens; times are seconds of one monotonic clock."""

    def __init__(self, known_limit: float | None, *, share: float, now: float) -> None:
        self.gross = self.refunded = 0.0  # units ever taken; of these, given back because they were refused
        self.told: float | None = None
        self._share = share
        self._known = known_limit
        self._burst = _LONGEST_BURST
        self._search = RateSearch()
        self._began, self._before = now, 0.0  # when demand began, and the units admitted before
        self._last = now
        self._idle = 0.0  # seconds in which more could have been sent
        self._held, self._held_until = False, now
        self._taken = 0
        self._at = now
        self._spaced = now  # before this, sending would be faster than catching up allows
        self._level = math.inf
        self.rate: float | None = None  # units per second to pace at; None means that no limit is known
        self._pace()

    @property
    def limit(self) -> float | None:
        """Units per minute as configured or told, the lower one."""
        return min((limit for limit in (self._known, self.told) if limit is not None), default=None)

    def _pace(self) -> None:
        """Take over what is now believed of the limit."""
        limit = self.limit
        rates = (limit / 60 * self._share if limit is not None else None, self._search.rate)
        self.rate = min((rate for rate in rates if rate is not None), default=None)

    def wait(self, cost: float, now: float) -> float:
        """Seconds until `cost` fits, if nothing else is taken."""
        rate = self.rate
        if rate is None:
            return 0.0
        self._fill(rate, now)
        lack = (min(cost, self._cap(rate)) - self._level) / rate
        wait = max(lack, self._spaced - now - _GRAIN)
        if wait <= _EPSILON:
            return 0.0
        self._held = True
        return wait

    def take(self, cost: float, now: float) -> Use:
        """A request of that cost is sent."""
        rate = self.rate
        if rate is None and now - self._last > _LULL:
            self._began, self._before = now, self.gross - self.refunded
        self._last = now
        self._taken += 1
        self.gross += cost
        self._level -= cost
        if rate is not None and self._taken > _CLOSE_TOGETHER:
            self._spaced = max(self._spaced, now) + cost / (rate * _CATCH_UP)
        held, self._held = self._held, False
        return Use(cost, self.gross, self.refunded, held, catching_up=rate is not None and self._level > cost)

    def admitted(self, use: Use) -> None:
        """The provider let the request in."""
        if use.held:
            self._search.admitted()
            self._pace()

    def give_back(self, use: Use) -> None:
        """A refused request did not use the limit."""
        self.refunded += use.cost
        self._level += use.cost
        self._search.not_admitted(use.gross - use.cost, use.cost)

    def tell(self, limit: float | None) -> bool:
        """Follow the provider's word for the limit; True if it says something new."""
        if limit is None or limit == self.told:
            return False
        self.told = limit
        self._pace()
        return True

    def synchronise(self, remaining: float, use: Use, *, sent: float, now: float) -> None:
        """Lower the level to what the provider had left when it saw a request, less what was taken since."""
        rate = self.rate
        if rate is None:
            return
        self._fill(rate, now)
        since = (self.gross - use.gross) - (self.refunded - use.refunded)
        left = remaining - since + rate * (now - sent)
        self._level = min(self._level, left - _RESERVE * rate)

    def search(self, use: Use, *, sent: float, now: float) -> float:
        """Measure the limit by a refusal; the seconds to hold all requests if the provider gives no hint."""
        order = use.gross - use.cost
        units = order - (self.refunded - use.cost)
        burst = (units - self._before, sent - self._began)
        self._search.measure(sent - self._idle, order=order, units=units, cost=use.cost, burst=burst)
        self._pace()
        self.synchronise(0.0, use, sent=sent, now=now)
        return self._search.pause()

    def hold(self, until: float) -> None:
        """Nothing is sent before then: that is no lack of demand."""
        self._held_until = max(self._held_until, until)

    def adapt_burst(self, use: Use) -> None:
        """Catching up after a lull was refused: the provider's bucket holds less than we believed."""
        factor = 0.5 if use.catching_up else 1.5
        self._burst = min(_LONGEST_BURST, max(_SHORTEST_BURST, self._burst * factor))

    def _cap(self, rate: float) -> float:
        return max(1.0, rate * self._burst)

    def _fill(self, rate: float, now: float) -> None:
        if now <= self._at:
            return
        level, cap = self._level + rate * (now - self._at), self._cap(rate)
        if level > cap:
            free = max(0.0, now - max(self._at, self._held_until))
            self._idle += min(free, (level - cap) / rate)
        self._level, self._at = min(cap, level), now
