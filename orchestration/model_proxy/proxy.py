"""The model proxy: prompt flows call it on loopback, it calls their model providers."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self
from urllib.parse import quote, unquote

import aiohttp
from aiohttp import web

from orchestration.model_proxy import answers
from orchestration.model_proxy.controller import Controller
from orchestration.model_proxy.exchange import Exchange, Patience
from orchestration.model_proxy.meter import Meter
from orchestration.model_proxy.translate import Target, Untranslatable, translate
from orchestration.model_proxy.turnstile import Turnstile
from orchestration.model_proxy.upstream import Upstream
from orchestration.model_proxy.usage import Ceiling, Usage

_SCOUTS = 8  # requests to a provider elsewhere before its first answer: its limits are not known yet
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=600)
_BACKLOG = 1024
_SHUTDOWN_SECONDS = 0.5


class ModelProxy:
    """Serves `upstreams`, by the names of their connections, while the `async with` block runs.

    The prompt flow gets an address that holds a secret (`urls`) and no key: the proxy adds the real one. It keeps to
    the provider's rate limits, repeats what fails, counts what is used and refuses everything above `ceiling`. A request
    fails for a rate limit only after `limit_deadline_seconds`, and for a provider that fails after
    `retry_deadline_seconds`. It belongs to one event loop. `sleep` waits between attempts after failures.
    """

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        *,
        ceiling: Ceiling | None = None,
        limit_deadline_seconds: float = 600,
        retry_deadline_seconds: float = 60,
        host: str = "127.0.0.1",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.urls: dict[str, str] = {}
        self._upstreams = dict(upstreams)
        self._meter = Meter(upstreams, ceiling)
        self._patience = Patience(limit_deadline_seconds, retry_deadline_seconds, sleep)
        self._host = host
        self._nonce = secrets.token_urlsafe(24)
        self._turnstiles: dict[tuple[str | None, ...], Turnstile] = {}
        self._under_way: dict[int, Exchange] = {}
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._open = AsyncExitStack()

    @property
    def usage(self) -> dict[str, Usage]:
        """What each connection has used so far."""
        return self._meter.usage

    @property
    def total(self) -> Usage:
        """What all connections have used so far."""
        return self._meter.total

    @property
    def ceiling_reached(self) -> asyncio.Event:
        """Set once the ceiling is reached; from then on every request is answered with 403."""
        return self._meter.reached

    def swap(self, upstreams: Mapping[str, Upstream]) -> None:
        """Use other keys, rates and prices from the next attempt on, also of requests that wait or are repeated.

        Raises `ValueError` if anything else differs: addresses were given out, and sessions are open for these.
        """
        wanted = {name: self._as_opened(name, upstream) for name, upstream in upstreams.items()}
        if {name: _place(each) for name, each in wanted.items()} != {n: _place(u) for n, u in self._upstreams.items()}:
            raise ValueError("only keys, rates and prices of a model proxy's connections can change")
        for name, upstream in wanted.items():
            if upstream != self._upstreams[name]:
                self._forget_limits(self._upstreams[name])
                self._meter.price(name, upstream.prices)
            self._upstreams[name] = upstream
        for exchange in self._under_way.values():
            exchange.upstream = self._upstreams[exchange.connection]

    def _as_opened(self, name: str, upstream: Upstream) -> Upstream:
        """With the address that the embedded model has got."""
        present = self._upstreams.get(name)
        if upstream.kind != "offline" or present is None:
            return upstream
        return replace(upstream, base_url=present.base_url)

    def _forget_limits(self, upstream: Upstream) -> None:
        """Another key has limits of its own. Who waits at a turnstile still passes it."""
        old = (upstream.kind, upstream.base_url, upstream.api_key)
        self._turnstiles = {key: each for key, each in self._turnstiles.items() if key[:3] != old}

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            await self._start_offline(opening)
            await self._open_sessions(opening)
            await self._listen(opening)
            self._open = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def _start_offline(self, opening: AsyncExitStack) -> None:
        offline = [name for name, upstream in self._upstreams.items() if upstream.kind == "offline"]
        if not offline:
            return
        from orchestration.embedded_model import embedded_model  # noqa: PLC0415 - only where it is used

        server = await opening.enter_async_context(embedded_model())
        for name in offline:
            self._upstreams[name] = replace(self._upstreams[name], base_url=server.url)

    async def _open_sessions(self, opening: AsyncExitStack) -> None:
        """Proxies and certificates of the environment hold for providers elsewhere, never for this machine."""
        for local in {upstream.is_local for upstream in self._upstreams.values()}:
            # aiohttp's own context has the certificates that were named when it was imported.
            verified = True if local else ssl.create_default_context()
            self._sessions[local] = await opening.enter_async_context(
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, ssl=verified),
                    timeout=_TIMEOUT,
                    trust_env=not local,
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            )

    async def _listen(self, opening: AsyncExitStack) -> None:
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        opening.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self._host, 0, backlog=_BACKLOG).start()
        port = runner.addresses[0][1]
        self.urls = {
            name: f"http://{self._host}:{port}/{self._nonce}/{quote(name, safe='')}" for name in self._upstreams
        }

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        _, nonce, name, *rest = f"{path}//".split("/", 3)
        name = unquote(name)
        if not secrets.compare_digest(nonce.encode(), self._nonce.encode()) or name not in self._upstreams:
            return answers.not_found()
        if self._meter.reached.is_set():
            return answers.ceiling(self._meter.reason)
        upstream = self._upstreams[name]
        body = await request.content.read()
        is_json = "json" in request.content_type
        try:
            target = translate(upstream, f"/{rest[0]}".removesuffix("//"), query, body, is_json=is_json)
        except Untranslatable as error:
            return answers.bad_request(name, str(error))
        return await self._exchange(name, upstream, request, target)

    async def _exchange(
        self, name: str, upstream: Upstream, request: web.BaseRequest, target: Target
    ) -> web.StreamResponse:
        session = self._sessions[upstream.is_local]
        turnstile = self._turnstile(upstream, target.asked)
        exchange = Exchange(name, upstream, session, turnstile, self._meter, self._patience, request, target)
        self._under_way[id(exchange)] = exchange
        try:
            return await exchange.run()
        finally:
            del self._under_way[id(exchange)]

    def _turnstile(self, upstream: Upstream, asked: str) -> Turnstile:
        """Limits hold per provider, key and model, not per connection."""
        key = (upstream.kind, upstream.base_url, upstream.api_key, upstream.deployment or asked)
        found = self._turnstiles.get(key)
        if found is None:
            found = self._turnstiles[key] = Turnstile(_controller(upstream))
        return found


def _place(upstream: Upstream) -> tuple[str | None, ...]:
    return (upstream.kind, upstream.base_url, upstream.api_version, upstream.deployment)


def _controller(upstream: Upstream) -> Controller:
    return Controller(
        now=asyncio.get_running_loop().time,
        requests_per_minute=upstream.requests_per_minute,
        tokens_per_minute=upstream.tokens_per_minute,
        scouts=None if upstream.is_local else _SCOUTS,
    )
