"""What a provider's answer says of its rate limits, read from its headers.

Read are `x-ratelimit-{limit,remaining,reset,renewalperiod}-{requests,tokens}` (OpenAI; Azure names the period in
seconds and writes -1 for unknown), `Retry-After`, `retry-after-ms`, and Azure's `x-rate-limit-reset-tokens`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias

Dimension: TypeAlias = Literal["requests", "tokens"]
DIMENSIONS: tuple[Dimension, ...] = ("requests", "tokens")

_LONGEST_RETRY_AFTER = 3600.0  # seconds; whoever says more is asked again after that
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Hint:
    """One dimension: the limit per minute, what is left of it, and the seconds until it is whole again."""

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class Hints:
    """All that one answer says. `limited` is the dimension that a 429 names; `retry_after` is in seconds."""

    requests: Hint = field(default_factory=Hint)
    tokens: Hint = field(default_factory=Hint)
    retry_after: float | None = None
    limited: Dimension | None = None

    def of(self, dimension: Dimension) -> Hint:
        return self.requests if dimension == "requests" else self.tokens


def read_hints(headers: Mapping[str, str], *, refusal: bytes | None = None) -> Hints:
    """The hints in `headers` (names without regard to case); `refusal` is the body of a 429."""
    requests, tokens = _hint(headers, "requests"), _hint(headers, "tokens")
    if refusal is None:
        return Hints(requests, tokens)
    return Hints(requests, tokens, _retry_after(headers), _limited(refusal))


def seconds(text: str) -> float | None:
    """A duration: `17`, `0.5`, `120ms`, `1m30s`, `6m0s`. None for anything else."""
    text = text.strip()
    value = _number(text)
    if value is not None:
        return value
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks to wait: `retry-after-ms`, else `Retry-After` in seconds or as a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, _LONGEST_RETRY_AFTER)
    text = headers.get("retry-after")
    if text is None:
        return None
    wait = seconds(text)
    wait = _until(text) if wait is None else wait
    return None if wait is None else min(wait, _LONGEST_RETRY_AFTER)


def _hint(headers: Mapping[str, str], dimension: Dimension) -> Hint:
    limit = _number(headers.get(f"x-ratelimit-limit-{dimension}"))
    remaining = _number(headers.get(f"x-ratelimit-remaining-{dimension}"))
    if limit is None and remaining is None:
        return Hint()
    period = _number(headers.get(f"x-ratelimit-renewalperiod-{dimension}")) or 60.0
    reset = headers.get(f"x-ratelimit-reset-{dimension}")
    return Hint(limit * 60 / period if limit else None, remaining, seconds(reset) if reset else None)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    asked = retry_after(headers)
    if asked is not None:
        return asked
    resets = [_number(headers.get(f"x-rate-limit-reset-{dimension}")) for dimension in DIMENSIONS]
    return max((value for value in resets if value is not None), default=None)


def _limited(refusal: bytes) -> Dimension | None:
    """OpenAI types the error `tokens` or `requests`; Azure writes `token rate limit` or `call rate limit`."""
    text = refusal.lower()
    if b"token" in text:
        return "tokens"
    return "requests" if b"request" in text or b"call rate" in text else None


def _number(text: str | None) -> float | None:
    """A number of at least 0; providers write -1 for unknown."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _until(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
