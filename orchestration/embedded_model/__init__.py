"""The embedded model: an OpenAI-compatible server that answers by rules, so that everything works without a key.

It is a **keyword baseline, not a language model**: word lists and patterns, honestly imperfect. It stands in for a
model provider in the shipped `local` environments, in tests and in benchmarks, where its latency, rate limits and
errors can be set.

    async with embedded_model(EmbeddedModelOptions(requests_per_minute=600)) as server:
        server.url    # http://127.0.0.1:<port>
"""

from orchestration.embedded_model.options import EmbeddedModelOptions, LimitChange
from orchestration.embedded_model.server import EmbeddedModel, embedded_model

__all__ = ["EmbeddedModel", "EmbeddedModelOptions", "LimitChange", "embedded_model"]
