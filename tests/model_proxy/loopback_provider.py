"""A model provider on 127.0.0.1 that answers from a script and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from orchestration.model_proxy import ModelProxy

KEY = "sk-real-secret-key"
CHAT = {"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Provider:
    """`script` is used up first, one answer per request; then every request gets `CHAT`."""

    url: str = ""
    script: list[Answer] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, request.path, dict(request.query), headers, body))
        return await self.script.pop(0)(request) if self.script else reply()


def reply(status: int = 200, body: Any = CHAT, **headers: str) -> web.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json", headers=names)


def error(status: int, **headers: str) -> Answer:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return reply(status, {"error": {"message": f"bad key {KEY}", "code": "x"}}, **headers)

    return answer


def stream(*pieces: bytes, broken: bool = False, after: asyncio.Event | None = None) -> Answer:
    """Server-sent events; waits for `after` before the last piece, or breaks off in its place."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces[:-1]:
            await response.write(piece)
        if broken:
            await asyncio.sleep(0.01)
            return await cut(request)
        if after is not None:
            await after.wait()
        await response.write(pieces[-1])
        await response.write_eof()
        return response

    return answer


async def cut(request: web.BaseRequest) -> web.StreamResponse:
    """The connection breaks."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


@asynccontextmanager
async def provider(*script: Answer) -> AsyncIterator[Provider]:
    found = Provider(script=list(script))
    runner = web.ServerRunner(web.Server(found.handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()


async def no_sleep(_: float) -> None:
    await asyncio.sleep(0)


@dataclass
class Got:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        return json.loads(self.body)["error"]


async def ask(proxy: ModelProxy, path: str = "/v1/chat/completions", *, name: str = "c", **keywords: Any) -> Got:
    keywords.setdefault("json", {"model": "asked", "messages": []})
    headers = {"Authorization": "Bearer dummy", "api-key": "dummy"} | keywords.pop("headers", {})
    url = proxy.urls[name] + path
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers, **keywords) as response:
        names = {name.lower(): value for name, value in response.headers.items()}
        return Got(response.status, names, await response.read())


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 30))
