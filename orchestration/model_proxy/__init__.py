"""The one way from user code to a model: it holds the keys, keeps to rate limits, counts, and ends at the ceiling."""

from __future__ import annotations

from orchestration.model_proxy.proxy import ModelProxy
from orchestration.model_proxy.upstream import Prices, Upstream
from orchestration.model_proxy.usage import Ceiling, Usage

__all__ = ["Ceiling", "ModelProxy", "Prices", "Upstream", "Usage"]
