"""What model calls used, and the ceiling above which none is made."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from orchestration.errors import ConfigurationError
from orchestration.model_proxy.upstream import Prices
from orchestration.values import Tokens

TAIL_BYTES = 8192  # of a stream: the usage stands in its last event
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Usage:
    """`requests` as the prompt flow made them; `rate_limited` answers and `retries` never reached it.

    `price` is in the currency of the prices, and 0 where a provider has none.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    rate_limited: int = 0
    retries: int = 0
    price: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.rate_limited + other.rate_limited,
            self.retries + other.retries,
            self.price + other.price,
        )

    @classmethod
    def of(cls, tokens: Tokens, prices: Prices | None) -> Usage:
        price = prices.of(tokens) if prices else 0.0
        return cls(prompt_tokens=tokens.prompt, completion_tokens=tokens.completion, price=price)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most that may be spent over all connections. What is in flight when it is reached still counts."""

    max_tokens: int | None = None
    max_price: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_price"):
            limit = getattr(self, name)
            if limit is not None and not limit >= 0:
                raise ConfigurationError(f"spending ceiling: {name} is {limit}, must be 0 or more.")

    def reached(self, usage: Usage) -> str | None:
        """Which limit is reached, in words; None if there is room left."""
        if self.max_tokens is not None and usage.tokens >= self.max_tokens:
            return f"{usage.tokens} of {self.max_tokens} tokens are used"
        if self.max_price is not None and usage.price >= self.max_price:
            return f"{usage.price:.4f} of {self.max_price:g} are spent"
        return None


def read_usage(body: bytes) -> Tokens | None:
    """The tokens that an answer, or the tail of a stream, says it used: its last `usage` object, unparsed otherwise.

    Inside JSON strings quotes are escaped, so text that speaks of usage is not mistaken for it.
    """
    found = None
    for found in _USAGE.finditer(body):  # noqa: B007 - the last one is wanted
        pass
    if found is None:
        return None
    try:
        usage, _ = _DECODER.raw_decode(body[found.end() :].decode("utf-8", "replace"))
    except ValueError:
        return None
    return _tokens(usage)


def _tokens(usage: dict[str, Any]) -> Tokens | None:
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    completion = usage.get("completion_tokens", usage.get("output_tokens", 0))
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    return Tokens(prompt, completion)
