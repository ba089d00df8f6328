"""Three things in promptflow 1.18.5 that are mended at run time."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from promptflow.executor import flow_executor
from promptflow.tracing import _trace as tracing
from promptflow.tracing._openai_utils import OpenAIMetricsCalculator

ENRICHERS = ("enrich_span_with_prompt_info", "enrich_span_with_output", "enrich_span_with_llm")


def install() -> None:
    """Count tokens without stumbling, describe nothing to nobody, and keep a prompty's client for its next row."""
    OpenAIMetricsCalculator.merge_metrics_dict = _merge
    _spare_spans()
    prompty = importlib.import_module("promptflow.core._flow")
    make = prompty.get_open_ai_client_by_connection
    if not hasattr(make, "sluice_kept"):
        prompty.get_open_ai_client_by_connection = _keep(make)  # type: ignore[attr-defined]


def _merge(_: Any, metrics: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add up the numbers. The usage that models report holds mappings and nulls too, on which the original raises."""
    for name, value in more.items():
        if isinstance(value, int | float):
            metrics[name] = metrics.get(name, 0) + value


def _spare_spans() -> None:
    """Inputs and outputs are written out for spans, a fifth of a row's time, also where nobody records a span."""
    if hasattr(tracing, "sluice_spared"):
        return
    for name in ENRICHERS:
        setattr(tracing, name, _if_recorded(getattr(tracing, name)))
    describe_inputs = _if_recorded(tracing.enrich_span_with_input)
    tracing.enrich_span_with_input = flow_executor.enrich_span_with_input = describe_inputs
    tracing.sluice_spared = True


def _if_recorded(enrich: Callable[..., Any]) -> Callable[..., Any]:
    def enrich_if_recorded(span: Any, *values: Any) -> Any:
        return enrich(span, *values) if span.is_recording() else values[0]

    return enrich_if_recorded


def _keep(make: Any) -> Any:
    """A client, with its pool of connections, takes tens of milliseconds to make; one serves all threads.

    Clients for coroutines belong to one event loop, of which each row has its own: those are made anew.
    """
    kept = functools.lru_cache(maxsize=32)(make)

    def get(connection: Any, is_async: bool = False) -> Any:
        return make(connection, is_async=True) if is_async else kept(connection)

    get.sluice_kept = True  # type: ignore[attr-defined]
    return get
