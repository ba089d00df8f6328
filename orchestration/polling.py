"""The one way to wait for something: poll with a deadline, jitter, and an injectable clock and sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, RetryError, Retrying, retry_if_result
from tenacity.wait import wait_base, wait_fixed, wait_random

from orchestration.errors import PlatformTimeout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the waits see it; tests inject one that moves by itself."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


REAL = Clock()


def every(seconds: float, *, jitter: float = 0.1) -> wait_base:
    """Wait `seconds` between polls, plus up to `jitter` of it, so that many waiters spread out."""
    return wait_fixed(seconds) + wait_random(0, seconds * jitter)


def wait_until(
    ready: Callable[[], T | None],
    *,
    what: str,
    timeout_seconds: float,
    wait: wait_base | None = None,
    clock: Clock = REAL,
    last: Callable[[], str] = lambda: "unknown",
) -> T:
    """Poll `ready` until it returns a value and return that value.

    `ready` returns None while things are under way and raises at once for a failure state, so success is
    only what it names. Raises `PlatformTimeout` after `timeout_seconds` by `clock`; `last` then names the
    state seen last. A wait never goes beyond the deadline: the last poll happens at the deadline.
    """
    deadline = clock.now() + timeout_seconds
    pause = wait or every(1.0)

    def bounded(state: RetryCallState) -> float:
        return max(0.0, min(pause(state), deadline - clock.now()))

    poll = Retrying(
        wait=bounded,
        sleep=clock.sleep,
        stop=lambda _: clock.now() >= deadline,
        retry=retry_if_result(lambda value: value is None),
    )
    try:
        return poll(ready)  # type: ignore[return-value]  # None is retried, so what returns is a T
    except RetryError:
        raise PlatformTimeout(what, timeout_seconds, last=last()) from None
