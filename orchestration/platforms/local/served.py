"""What one online deployment has served: the evidence behind a traffic step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil
from time import time

from orchestration.platforms.base import Load

KEPT = 100_000  # newest requests per online deployment; older ones are forgotten


class Served:
    """Requests with their end, duration and outcome; `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._requests: deque[tuple[float, float, bool]] = deque(maxlen=KEPT)

    def add(self, status: int, seconds: float) -> None:
        """Note one finished request; a status of 500 and above is an error."""
        self._requests.append((self._clock(), seconds, status >= 500))

    def since(self, moment: float) -> Load:
        """What ended at or after `moment`. p95 by the nearest-rank method."""
        recent = [r for r in self._requests if r[0] >= moment]
        seconds = sorted(r[1] for r in recent)
        p95 = seconds[ceil(0.95 * len(seconds)) - 1] if seconds else None
        return Load(len(recent), sum(r[2] for r in recent), p95)
