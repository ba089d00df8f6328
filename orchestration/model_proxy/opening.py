"""The first requests to a provider whose limits are not known: careful until one of them has been answered."""

from __future__ import annotations

import math

_AT_ONCE = 8  # requests that any limit lets through together
_SPACING = 0.001  # seconds between those that follow: time for a provider that is near to refuse before all are out
_LATE = 0.005  # seconds that a late timer may make up for


class Opening:
    """`scouts` bounds the requests in flight; None bounds only how fast they follow each other."""

    def __init__(self, scouts: int | None) -> None:
        self._scouts = scouts
        self._over = False
        self._sent = 0
        self._next = -math.inf

    def wait(self, in_flight: int, now: float) -> float:
        """Seconds until another request may be sent; inf means not before an answer."""
        if self._over:
            return 0.0
        if self._scouts is not None and in_flight >= self._scouts:
            return math.inf
        return self._next - now

    def sent(self, now: float) -> None:
        """A request is sent."""
        self._sent += 1
        if self._sent >= _AT_ONCE:
            self._next = max(self._next, now - _LATE) + _SPACING

    def end(self) -> None:
        """The provider admitted a request, or its limits are known."""
        self._over = True
