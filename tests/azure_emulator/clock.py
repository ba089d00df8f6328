"""The emulator's time: virtual, moved by those who sleep in it, or the real one at a multiple of its speed."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the product and the emulator share; `orchestration.polling.Clock(clock.now, clock.sleep)` fits."""

    def now(self) -> float:
        """Seconds since the clock was made."""

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""


class VirtualClock:
    """Time that only sleeping moves; sleeping returns at once. Safe to use from several threads."""

    def __init__(self, start: float = 0.0) -> None:
        self._time = start
        self._lock = threading.Lock()

    def now(self) -> float:
        """Virtual seconds since the start."""
        with self._lock:
            return self._time

    def sleep(self, seconds: float) -> None:
        """Move the time on; negative seconds move nothing."""
        with self._lock:
            self._time += max(0.0, seconds)


class RealClock:
    """The machine's clock, `speed` times as fast: a deployment of ten minutes takes ten seconds at 60."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed, self._start = speed, time.monotonic()

    def now(self) -> float:
        """Emulated seconds since the clock was made."""
        return (time.monotonic() - self._start) * self._speed

    def sleep(self, seconds: float) -> None:
        """Sleep for real, `speed` times shorter."""
        time.sleep(max(0.0, seconds) / self._speed)
