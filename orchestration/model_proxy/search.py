"""Finding a rate limit that the provider does not tell, from its refusals alone.

A limiter that refuses is empty. So what it admitted between two refusals, divided by the time between them, is its
rate: exact for a token bucket, and for windows over a whole period. The search paces a little below that measure,
climbs slowly to it and then ever faster beyond it, until the next refusal measures again. The more often the measure
is confirmed, the longer the climb takes, so refusals become rare while a limit stands, and a raised limit is found.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_SHORTEST_CLIMB, _LONGEST_CLIMB = 80, 240  # requests from the start of a climb to the measured rate
_EVIDENCE = 30  # admitted requests that make a measure good
_TELLING = 4  # admitted requests that can show a change of the limit
_PROGRESS = 1.5  # admitted requests since the last refusal, or nothing is measured: one may be a refusal not yet heard
_CONFIRMED = 0.08  # relative difference of two measures of one limit
_CHANGED = 0.75  # of the measured rate: less than this, seen at once, is another limit
_CUT = 0.8  # of the rate, while there is no evidence for a better number
_SLOW_RATE = 2.0  # requests per second: below, a limiter may save up nothing and so admit less than it could
_OVERSHOOT = 0.75  # of the rate that was refused, which then says more than what was admitted
_FIRST_RATE, _SLOWEST_RATE = 1.0, 1 / 60  # requests per second, where the evidence says less
_BURST = 1.0  # seconds of its rate that a limiter lets through at once, by guess
_MOST_STALLS = 12
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.02, 15.0  # seconds


@dataclass(slots=True)
class _Empty:
    """A moment at which the limiter was empty: when the refused request was sent, and the units sent before it.

    Refusals of earlier requests may be heard later; they are taken off `units` then.
    """

    at: float
    order: float
    units: float


class RateSearch:
    """The rate that is safe by evidence: units (requests or tokens) per second, or None while none is known."""

    def __init__(self) -> None:
        self._measured: float | None = None
        self._margin = 0.0
        self._climb = float(_SHORTEST_CLIMB)
        self._progress = 0
        self._stalled = 0
        self._empty: deque[_Empty] = deque(maxlen=8)

    @property
    def rate(self) -> float | None:
        """The present pace, units per second."""
        if self._measured is None:
            return None
        done = self._progress / self._climb
        if done <= 1:
            return self._measured * (1 - self._margin * (1 - done))
        beyond = done - 1
        return self._measured * (1 + 0.03 * beyond + 0.25 * beyond * beyond * beyond)

    def admitted(self) -> None:
        """A request that this rate had held back was admitted."""
        self._progress += 1
        self._stalled = 0

    def not_admitted(self, order: float, cost: float) -> None:
        """A request was refused; `order` is the units that had been sent before it."""
        for empty in self._empty:
            if order < empty.order:
                empty.units -= cost

    def measure(self, at: float, *, order: float, units: float, cost: float, burst: tuple[float, float]) -> None:
        """A refusal that is news: sent `at`, after `order` units, of which `units` were admitted.

        `at` is time in which the limit was in demand, idle times left out. `burst`, the units admitted without a
        break before it and the seconds that took, serves while there is no earlier refusal to compare with.
        """
        empty = _Empty(at, order, units)
        if not self._empty:
            admitted, took = burst
            self._start_over(max(admitted / (took + _BURST), _FIRST_RATE * cost), max(_TELLING, admitted / cost))
        elif units - self._empty[-1].units < _PROGRESS * cost:
            self._stalled = min(self._stalled + 1, _MOST_STALLS)
            return
        else:
            rate, evidence = self._since_last(empty, cost)
            self._start_over(max(rate, _SLOWEST_RATE * cost), evidence)
        self._empty.append(empty)

    def pause(self) -> float:
        """Seconds to hold all requests after a refusal that gives no hint of its own."""
        rate = self.rate or 1.0
        return min(_LONGEST_PAUSE, max(_SHORTEST_PAUSE, min(1.0, 2 / rate)) * 2.0**self._stalled)

    def _since_last(self, now: _Empty, cost: float) -> tuple[float, float]:
        """The measured rate, and the number of admitted requests that it rests on."""
        rate, evidence = _between(self._empty[-1], now, cost)
        if self._measured and evidence >= _TELLING and rate < _CHANGED * self._measured:
            self._empty.clear()
            return rate, evidence
        few = evidence < _TELLING
        for earlier in reversed(self._empty):
            rate, evidence = _between(earlier, now, cost)
            if evidence >= _EVIDENCE:
                break
        pace = self.rate or rate
        if few:
            return min(rate, pace * _CUT), evidence
        return max(rate, pace * _OVERSHOOT) if pace < _SLOW_RATE * cost else rate, evidence

    def _start_over(self, rate: float, evidence: float) -> None:
        confirmed = self._measured is not None and abs(rate / self._measured - 1) < _CONFIRMED
        longer = min(_LONGEST_CLIMB, self._climb * 2)
        self._climb = longer if confirmed else max(_TELLING, min(_SHORTEST_CLIMB, 4 * evidence))
        self._measured, self._progress, self._stalled = rate, 0, 0
        self._margin = 0.02 + 1 / (evidence + 8)


def _between(earlier: _Empty, later: _Empty, cost: float) -> tuple[float, float]:
    units = later.units - earlier.units
    return units / max(later.at - earlier.at, 1e-6), units / cost
