"""The embedded model over HTTP: one aiohttp server on 127.0.0.1."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from orchestration.embedded_model import chat, tasks
from orchestration.embedded_model.limits import RateLimits
from orchestration.embedded_model.options import EmbeddedModelOptions
from orchestration.embedded_model.statistics import Statistics

_LARGEST_BODY = 32 * 1024 * 1024  # bytes
_BACKLOG = 1024
_SHUTDOWN_SECONDS = 0.5

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class EmbeddedModel:
    """A running embedded model. `url` has no path: `/v1` and `/openai/deployments/<d>` are below it."""

    def __init__(
        self, options: EmbeddedModelOptions, now: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self.url = ""
        self.statistics = Statistics()
        self._options, self._now, self._sleep = options, now, sleep
        self._limits = RateLimits(options, now=now())
        self._random = random.Random(options.seed)  # noqa: S311 - latencies and injected errors, not secrets

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_LARGEST_BODY, middlewares=[_openai_errors])
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/openai/deployments/{deployment}/chat/completions", self._complete)
        app.router.add_get("/v1/models", _models)
        app.router.add_get("/stats", self._stats)
        return app

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.statistics.as_json())

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.statistics.arrived()
        try:
            wanted = chat.read_request(await _body(request))
        except chat.BadRequest as error:
            self.statistics.bad_requests += 1
            return _error(400, str(error), "invalid_request_error", param=error.param)
        refusal = self._limits.admit(wanted.charged_tokens, self._now())
        headers = self._limits.headers(self._now(), refusal)
        if refusal:
            self.statistics.rate_limited += 1
            message = f"Rate limit of {refusal.limit} reached; retry in {refusal.seconds:.3f} s."
            return _error(429, message, refusal.limit, code="rate_limit_exceeded", headers=headers)
        return await self._admitted(request, wanted, headers)

    async def _admitted(
        self, request: web.Request, wanted: chat.ChatRequest, headers: dict[str, str]
    ) -> web.StreamResponse:
        self.statistics.admitted()
        try:
            await self._wait()
            if self._random.random() < self._options.error_rate:
                self.statistics.injected_errors += 1
                return _error(500, "An injected error.", "server_error", headers=headers)
            completion = chat.Completion.of(wanted, tasks.reply(wanted.messages))
            return await self._answer(request, wanted, completion, headers)
        finally:
            self.statistics.left()

    async def _wait(self) -> None:
        spread = self._options.jitter_seconds
        seconds = self._options.latency_seconds + self._random.uniform(-spread, spread)
        if seconds > 0:
            await self._sleep(seconds)

    async def _answer(
        self, request: web.Request, wanted: chat.ChatRequest, completion: chat.Completion, headers: dict[str, str]
    ) -> web.StreamResponse:
        answer: web.StreamResponse
        if wanted.stream:
            answer = await _stream(request, completion, headers, include_usage=wanted.include_usage)
        else:
            answer = _json(200, completion.document(), headers)
        self.statistics.completed(completion.prompt_tokens, completion.completion_tokens)
        return answer


@asynccontextmanager
async def embedded_model(
    options: EmbeddedModelOptions | None = None,
    *,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[EmbeddedModel]:
    """Serve the embedded model while the block runs. Raises `OSError` if the port is taken."""
    options = options or EmbeddedModelOptions()
    model = EmbeddedModel(options, now, sleep)
    runner = web.AppRunner(model.application(), access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", options.port, backlog=_BACKLOG)
        await site.start()
        host, port = runner.addresses[0][:2]
        model.url = f"http://{host}:{port}"
        yield model
    finally:
        await runner.cleanup()


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.RequestPayloadError:
        raise chat.BadRequest("The body can't be read as its headers describe it.") from None


async def _models(_: web.Request) -> web.Response:
    return _json(200, chat.models_document())


async def _stream(
    request: web.Request, completion: chat.Completion, headers: dict[str, str], *, include_usage: bool
) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache", **headers})
    await answer.prepare(request)
    for chunk in completion.chunks(include_usage=include_usage):
        await answer.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await answer.write(b"data: [DONE]\n\n")
    await answer.write_eof()
    return answer


@web.middleware
async def _openai_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The refusals of aiohttp itself (no such path, wrong method, body too large) in OpenAI's shape."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        message = f"{request.method} {request.path}: {error.reason}."
        return _error(error.status, message, "invalid_request_error", code=str(error.status))


def _error(
    status: int,
    message: str,
    kind: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    return _json(status, chat.error_document(message, kind, param=param, code=code), headers)


def _json(status: int, document: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    body = json.dumps(document).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)
