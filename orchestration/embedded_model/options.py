"""What can be set about the embedded model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestration.errors import ConfigurationError

RateHeaders: TypeAlias = Literal["yes", "retry-after", "none"]


@dataclass(frozen=True, slots=True)
class LimitChange:
    """From `after_seconds` past the first request on, both limits are `factor` times what was set."""

    factor: float
    after_seconds: float

    def __post_init__(self) -> None:
        _require(self.factor > 0, "limit change: the factor", self.factor, "above 0")
        _require(self.after_seconds >= 0, "limit change: the seconds", self.after_seconds, "0 or more")

    @classmethod
    def parse(cls, text: str) -> LimitChange:
        """`0.5@20`: half the limit from second 20 on. Raises `ConfigurationError`."""
        factor, _, after = text.partition("@")
        try:
            return cls(float(factor), float(after))
        except ValueError:
            raise ConfigurationError(f"limit change {text!r} must be FACTOR@SECONDS.", cure="Write 0.5@20.") from None


@dataclass(frozen=True, slots=True)
class EmbeddedModelOptions:
    """How the embedded model behaves. Raises `ConfigurationError` for a value out of its range.

    Latency is uniform in `latency_seconds` ± `jitter_seconds`. The limits are sustained rates with a burst of one
    second, so a client that keeps to them never sees a 429. `rate_headers`: `yes` sends OpenAI's `x-ratelimit-*`
    headers with every answer and `Retry-After` with a 429, `retry-after` only the latter, `none` nothing.
    `error_rate` is the share of admitted requests that get a 500. `port` 0 takes a free one.
    """

    port: int = 0
    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    rate_headers: RateHeaders = "yes"
    limit_changes: tuple[LimitChange, ...] = ()
    error_rate: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65535, "port", self.port, "0 to 65535")
        _require(self.latency_seconds >= 0, "latency", self.latency_seconds, "0 or more")
        _require(0 <= self.jitter_seconds <= self.latency_seconds, "jitter", self.jitter_seconds, "0 to the latency")
        _require(0 <= self.error_rate <= 1, "error rate", self.error_rate, "0 to 1")
        for name in ("requests_per_minute", "tokens_per_minute"):
            limit = getattr(self, name)
            _require(limit is None or limit > 0, name.replace("_", " "), limit, "above 0")


def _require(holds: bool, what: str, value: object, allowed: str) -> None:
    if not holds:
        raise ConfigurationError(f"embedded model: {what} is {value}, must be {allowed}.")
