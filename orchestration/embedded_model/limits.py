"""Rate limits as a model provider keeps them: requests and tokens a minute, told by headers or by 429s."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestration.embedded_model.options import EmbeddedModelOptions, RateHeaders

BURST_SECONDS = 1.0
_EPSILON = 1e-9  # a bucket that was refilled for exactly the time it asked for must be full enough


class TokenBucket:
    """A sustained rate with a burst of one second. All times are seconds of one monotonic clock."""

    def __init__(self, per_minute: float, *, now: float) -> None:
        self._original = self.per_minute = per_minute
        self._level = self.capacity
        self._at = now

    @property
    def capacity(self) -> float:
        return max(1.0, self.per_minute / 60 * BURST_SECONDS)

    def scale(self, factor: float) -> None:
        """From now on, `factor` times the rate that it was made with."""
        self.per_minute = self._original * factor
        self._level = min(self._level, self.capacity)

    def level(self, now: float) -> float:
        """What is in the bucket; below 0 after a cost above the capacity."""
        self._level = min(self.capacity, self._level + max(0.0, now - self._at) * self.per_minute / 60)
        self._at = max(now, self._at)
        return self._level

    def seconds_until(self, cost: float, now: float) -> float:
        """0 if `cost` fits now. A cost above the capacity needs a full bucket and leaves a debt behind."""
        lack = min(cost, self.capacity) - self.level(now)
        return lack * 60 / self.per_minute if lack > _EPSILON else 0.0

    def seconds_until_full(self, now: float) -> float:
        return (self.capacity - self.level(now)) * 60 / self.per_minute

    def take(self, cost: float, now: float) -> None:
        self._level = self.level(now) - cost


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 429: which limit was hit, and when the same request would be admitted if nobody else came."""

    limit: str
    seconds: float


class RateLimits:
    """The limits of one model. Not thread-safe: it belongs to one event loop."""

    def __init__(self, options: EmbeddedModelOptions, *, now: float) -> None:
        limits = {"requests": options.requests_per_minute, "tokens": options.tokens_per_minute}
        self._buckets = {name: TokenBucket(limit, now=now) for name, limit in limits.items() if limit is not None}
        self._changes = sorted(options.limit_changes, key=lambda change: change.after_seconds)
        self._style: RateHeaders = options.rate_headers
        self._first: float | None = None

    def admit(self, tokens: int, now: float) -> Refusal | None:
        """Charge one request of `tokens` tokens, or say why not; a refused request costs nothing."""
        self._change(now)
        costs = {"requests": 1.0, "tokens": float(tokens)}
        waits = {name: bucket.seconds_until(costs[name], now) for name, bucket in self._buckets.items()}
        name = max(waits, key=lambda limit: waits[limit], default="")
        if name and waits[name] > 0:
            return Refusal(name, waits[name])
        for limit, bucket in self._buckets.items():
            bucket.take(costs[limit], now)
        return None

    def headers(self, now: float, refusal: Refusal | None = None) -> dict[str, str]:
        """The headers of an answer; `Retry-After` is in whole seconds, as HTTP has it, and so never early."""
        headers: dict[str, str] = {}
        if self._style == "yes":
            for name, bucket in self._buckets.items():
                headers |= _headers_of(name, bucket, now)
        if refusal and self._style != "none":
            headers["Retry-After"] = str(math.ceil(refusal.seconds))
        if refusal and self._style == "yes":
            headers["retry-after-ms"] = str(math.ceil(refusal.seconds * 1000))
        return headers

    def _change(self, now: float) -> None:
        self._first = now if self._first is None else self._first
        due = [change for change in self._changes if now - self._first >= change.after_seconds]
        for bucket in self._buckets.values() if due else ():
            bucket.level(now)
            bucket.scale(due[-1].factor)
        self._changes = self._changes[len(due) :]


def _headers_of(name: str, bucket: TokenBucket, now: float) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{name}": f"{bucket.per_minute:.0f}",
        f"x-ratelimit-remaining-{name}": str(max(0, math.floor(bucket.level(now) + _EPSILON))),
        f"x-ratelimit-reset-{name}": _duration(bucket.seconds_until_full(now)),
    }


def _duration(seconds: float) -> str:
    """OpenAI's notation: `350ms`, `12.5s`, `1m30s`."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds / 1000, 60)
    return f"{minutes:.0f}m{rest:g}s" if minutes else f"{rest:g}s"
