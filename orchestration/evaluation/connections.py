"""The connections that user code gets. The model proxy is started with the first runner, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from orchestration.errors import ConfigurationError
from orchestration.evaluation.job import EvaluationJob
from orchestration.redaction import Redactor, texts_in
from orchestration.values import Json

if TYPE_CHECKING:
    from orchestration.model_proxy import ModelProxy

DUMMY_KEY = "sluice"  # SDKs want some key; the proxy replaces it by the real one


class Connections:
    """Descriptions for `open`, and what the model proxy knows. Whoever makes them owes them `close`.

    `redactor` knows every secret of the connections: nothing of them may come back from user code.
    """

    def __init__(self, job: EvaluationJob) -> None:
        self._job = job
        self.redactor = Redactor(_secrets(job))
        self._lock = asyncio.Lock()
        self._proxy: ModelProxy | None = None

    async def close(self) -> None:
        """End the model proxy, if there is one."""
        if self._proxy is not None:
            await self._proxy.__aexit__(None, None, None)

    async def describe(self) -> dict[str, dict[str, Json]]:
        """All connections as docs/runner-protocol.md has them. Raises `ConfigurationError` for one without a goal."""
        llm = [name for name, c in self._job.connections.items() if c.get("type") == "llm"]
        if homeless := [name for name in llm if name not in self._job.upstreams]:
            raise ConfigurationError(f"connection {homeless[0]} is bound to no model provider.")
        urls = await self._urls() if llm else {}
        return {name: self._one(connection, urls.get(name)) for name, connection in self._job.connections.items()}

    @property
    def stopped(self) -> str | None:
        """That the evaluation has spent what it may, as a sentence with the numbers; None while it hasn't."""
        ceiling, proxy = self._job.ceiling, self._proxy
        if proxy is None or ceiling is None or not proxy.ceiling_reached.is_set():
            return None
        return f"the spending ceiling was reached: {ceiling.reached(proxy.total)}"

    @property
    def usage(self) -> dict[str, Json]:
        """What the model proxy counted in this evaluation; empty if it was never needed."""
        return {} if self._proxy is None else asdict(self._proxy.total)

    async def _urls(self) -> Mapping[str, str]:
        async with self._lock:
            if self._proxy is None:
                from orchestration.model_proxy import ModelProxy  # noqa: PLC0415 - with it comes aiohttp

                job = self._job
                proxy = ModelProxy(
                    job.upstreams, ceiling=job.ceiling, limit_deadline_seconds=job.limit_deadline_seconds
                )
                self._proxy = await proxy.__aenter__()
        return self._proxy.urls

    @staticmethod
    def _one(connection: Mapping[str, Json], url: str | None) -> dict[str, Json]:
        if url is None:
            return dict(connection)
        return {**connection, "base_url": url, "api_key": DUMMY_KEY}


def _secrets(job: EvaluationJob) -> Iterator[str]:
    """Those of custom connections, and the keys of models: user code never has them, but a provider may repeat them."""
    for connection in job.connections.values():
        yield from texts_in(connection.get("secrets"))
    yield from (upstream.api_key for upstream in job.upstreams.values() if upstream.api_key)
