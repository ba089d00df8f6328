"""Adds up what all connections of a proxy use, and says when it is enough."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from orchestration.errors import ConfigurationError
from orchestration.model_proxy.upstream import Prices, Upstream
from orchestration.model_proxy.usage import Ceiling, Usage
from orchestration.values import Tokens


class Meter:
    """`reached` is set once the ceiling is; `reason` then says how. Raises `ConfigurationError` for a blind ceiling."""

    def __init__(self, upstreams: Mapping[str, Upstream], ceiling: Ceiling | None) -> None:
        self.reached = asyncio.Event()
        self.reason = ""
        self._ceiling = ceiling or Ceiling()
        self._prices: dict[str, Prices | None] = {name: upstream.prices for name, upstream in upstreams.items()}
        self._usage = dict.fromkeys(upstreams, Usage())
        if self._ceiling.max_price is not None:
            _require_prices(name for name, upstream in upstreams.items() if not (upstream.prices or _free(upstream)))
        self._check()

    @property
    def usage(self) -> dict[str, Usage]:
        """By connection."""
        return dict(self._usage)

    @property
    def total(self) -> Usage:
        return sum(self._usage.values(), Usage())

    def price(self, connection: str, prices: Prices | None) -> None:
        """What is used from now on costs this."""
        self._prices[connection] = prices

    def requested(self, connection: str) -> None:
        self._usage[connection] += Usage(requests=1)

    def retried(self, connection: str, *, rate_limited: bool) -> None:
        self._usage[connection] += Usage(retries=1, rate_limited=int(rate_limited))

    def used(self, connection: str, tokens: Tokens) -> None:
        self._usage[connection] += Usage.of(tokens, self._prices[connection])
        self._check()

    def _check(self) -> None:
        if not self.reached.is_set():
            self.reason = self._ceiling.reached(self.total) or ""
            if self.reason:
                self.reached.set()


def _free(upstream: Upstream) -> bool:
    return upstream.kind == "offline"


def _require_prices(names: Iterable[str]) -> None:
    unpriced = sorted(names)
    if unpriced:
        raise ConfigurationError(
            f"a ceiling on the price needs the prices of every connection; {', '.join(unpriced)} has none.",
            cure="Set prices there, 0 where it is free, or use max_tokens.",
        )
