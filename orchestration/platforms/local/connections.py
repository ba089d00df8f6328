"""The connections of a deployment on their way to its server: through the gateway's memory only, never on disk."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from orchestration.errors import ConfigurationError
from orchestration.redaction import texts_in
from orchestration.values import Json

if TYPE_CHECKING:
    from orchestration.model_proxy import ModelProxy, Upstream

# By name: an upstream for the model proxy, or the description of a custom connection for the server itself.
Connections: TypeAlias = "Mapping[str, Upstream | Mapping[str, Json]]"
LLM = "llm"
DUMMY_KEY = "sluice"  # the model proxy adds the real one
IN_THE_PROXY = frozenset({"api_key", "requests_per_minute", "tokens_per_minute", "prices"})  # no server knows of them


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


@dataclass(slots=True)
class Opened:
    """A deployment's connections in use. `described` is what its server gets: without the keys of models."""

    wire: Mapping[str, Any] = field(repr=False)
    described: Mapping[str, Json] = field(repr=False)
    proxy: ModelProxy | None = None

    def change(self, wire: Mapping[str, Any]) -> bool:
        """Call models with other keys, rates and prices from the next request on; False if a server must know of it."""
        if self.proxy is None or _seen_by_server(wire) != _seen_by_server(self.wire):
            return False
        self.proxy.swap(_upstreams(wire))
        self.wire = wire
        return True


@contextlib.asynccontextmanager
async def opened(wire: Mapping[str, Any], *, model_seconds: float) -> AsyncIterator[Opened]:
    """The connections opened for a server, with a model proxy behind those of type `llm`."""
    others: dict[str, Json] = {name: dict(c) for name, c in wire.items() if c.get("type") != LLM}
    if len(others) == len(wire):
        yield Opened(wire, others)
        return
    from orchestration.model_proxy import ModelProxy  # noqa: PLC0415 - only where there is a model

    upstreams = _upstreams(wire)
    async with ModelProxy(upstreams, limit_deadline_seconds=model_seconds) as proxy:
        described = {name: _described(upstream, proxy.urls[name]) for name, upstream in upstreams.items()}
        yield Opened(wire, others | described, proxy)


def _upstreams(wire: Mapping[str, Any]) -> dict[str, Upstream]:
    from orchestration.model_proxy import Upstream  # noqa: PLC0415 - only where there is a model

    return {name: Upstream.from_dict(c["upstream"]) for name, c in wire.items() if c.get("type") == LLM}


def _seen_by_server(wire: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for a server to go on: all of a custom connection, place and model of the others."""
    return {
        name: {k: v for k, v in c["upstream"].items() if k not in IN_THE_PROXY} if c.get("type") == LLM else dict(c)
        for name, c in wire.items()
    }


def _described(upstream: Upstream, url: str) -> dict[str, Json]:
    return {"type": LLM, "base_url": url, "api_key": DUMMY_KEY, "model": upstream.deployment}


def secrets_in(wire: Mapping[str, Any]) -> Iterator[str]:
    """Every value that must not be printed."""
    for connection in wire.values():
        if connection.get("type") == LLM:
            yield str(connection["upstream"].get("api_key") or "")
        else:
            yield from texts_in(connection.get("secrets"))
