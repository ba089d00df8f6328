"""The connections of a deployment on their way to its server: through the gateway's memory only, never on disk."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestration.errors import ConfigurationError
from orchestration.values import Json

if TYPE_CHECKING:
    from orchestration.model_proxy import Upstream

# By name: an upstream for the model proxy, or the description of a custom connection for the server itself.
Connections: TypeAlias = "Mapping[str, Upstream | Mapping[str, Json]]"
LLM = "llm"
DUMMY_KEY = "sluice"  # the model proxy adds the real one


def to_wire(connections: Connections) -> dict[str, Any]:
    """The connections as JSON, with their secrets: for private pipes and sockets only.

    Raises `ConfigurationError` for one that can't be handed to another process.
    """
    return {name: dict(c) if isinstance(c, Mapping) else _upstream(name, c) for name, c in connections.items()}


def _upstream(name: str, upstream: Upstream) -> dict[str, Any]:
    if upstream.authorize is not None:
        raise ConfigurationError(
            f"The connection {name} signs in as the user who runs this, which a local endpoint outlives.",
            cure="Give the connection an api_key.",
        )
    return {"type": LLM, "upstream": upstream.to_dict()}


@contextlib.asynccontextmanager
async def opened(wire: Mapping[str, Any], *, model_seconds: float) -> AsyncIterator[dict[str, Json]]:
    """The connections as a server gets them, with a model proxy behind those of type `llm`."""
    others: dict[str, Json] = {name: dict(c) for name, c in wire.items() if c.get("type") != LLM}
    if len(others) == len(wire):
        yield others
        return
    from orchestration.model_proxy import ModelProxy, Upstream  # noqa: PLC0415 - only where there is a model

    upstreams = {name: Upstream.from_dict(c["upstream"]) for name, c in wire.items() if name not in others}
    async with ModelProxy(upstreams, limit_deadline_seconds=model_seconds) as proxy:
        yield others | {name: _described(upstream, proxy.urls[name]) for name, upstream in upstreams.items()}


def _described(upstream: Upstream, url: str) -> dict[str, Json]:
    return {"type": LLM, "base_url": url, "api_key": DUMMY_KEY, "model": upstream.deployment}


def secrets_in(wire: Mapping[str, Any]) -> Iterator[str]:
    """Every value that must not be printed."""
    for connection in wire.values():
        if connection.get("type") == LLM:
            yield str(connection["upstream"].get("api_key") or "")
        else:
            yield from _texts(connection.get("secrets"))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif value is not None:
        yield str(value)
