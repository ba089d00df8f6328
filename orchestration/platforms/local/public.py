"""The public side of an endpoint: checks the key, picks the online deployment, passes the request through."""

from __future__ import annotations

import hmac
import time

import aiohttp
from aiohttp import web

from orchestration.errors import ResourceNotFound
from orchestration.platforms.local.live_endpoint import LiveEndpoint
from orchestration.platforms.local.public_names import DEPLOYMENT_HEADER
from orchestration.platforms.local.server import TOKEN_HEADER, Server
from orchestration.platforms.local.server_process import ServerProcess

REQUEST_HEADERS = ("Content-Type", "Accept", "traceparent", "tracestate", "x-request-id")  # what a server gets
ANSWER_HEADERS = ("Content-Type", "Content-Encoding", "Cache-Control")
WHOLE_BYTES = 2**20  # longer answers, and those of unknown length, are passed on piece by piece
FORWARDED = (("POST", "/score"), ("GET", "/version"), ("GET", "/swagger.json"))


def refuse(status: int, code: str, message: str, **headers: str) -> web.Response:
    """An answer of the gateway itself."""
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)


class PublicSide:
    """Requests from outside. `app` is the aiohttp application."""

    def __init__(self, endpoint: LiveEndpoint, key: str) -> None:
        self._endpoint = endpoint
        self._expected = f"Bearer {key}".encode()
        self.app = web.Application(client_max_size=endpoint.limits.body_bytes)
        self.app.router.add_get("/health", self._health)
        for method, path in FORWARDED:
            self.app.router.add_route(method, path, self._forward)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "Healthy"})

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not hmac.compare_digest(given, self._expected):
            return refuse(401, "Unauthorized", "The header Authorization must be: Bearer <key>.")
        try:
            server = self._choose(request.headers.get(DEPLOYMENT_HEADER, ""))
        except ResourceNotFound as error:
            return refuse(404, "DeploymentNotFound", error.message)
        if server is None:
            return refuse(503, "NoTraffic", "No online deployment of this endpoint has traffic.")
        return await self._measured(request, server)

    def _choose(self, name: str) -> Server | None:
        return self._endpoint.server(name) if name else self._endpoint.choose()

    async def _measured(self, request: web.Request, server: Server) -> web.StreamResponse:
        started = time.perf_counter()
        status = 500  # if the caller goes away, or anything unforeseen happens
        try:
            with server.request() as process:
                answer = await self._answer(request, server, process)
            status = answer.status
        finally:
            if request.path == "/score":
                server.served.add(status, time.perf_counter() - started)
        return answer

    async def _answer(self, request: web.Request, server: Server, process: ServerProcess | None) -> web.StreamResponse:
        name, own = server.name, {DEPLOYMENT_HEADER: server.name}
        if process is None:
            return refuse(
                503, "NotServing", f"{name} does not serve now; it is started again.", **own, **{"Retry-After": "1"}
            )
        body = await request.read()
        try:
            return await self._pass(request, body, server, process)
        except TimeoutError:
            seconds = self._endpoint.limits.silence_seconds
            return refuse(504, "TimedOut", f"{name} did not answer for {seconds:g} s.", **own)
        except aiohttp.ClientConnectorError:
            return self._not_serving(name)
        except aiohttp.ClientError:
            return refuse(502, "ServerDied", f"{name} ended while it worked on this request.", **own)

    def _not_serving(self, name: str) -> web.Response:
        state = self._endpoint.states().get(name, "gone")
        headers = {DEPLOYMENT_HEADER: name, "Retry-After": "1"}
        return refuse(503, "NotServing", f"{name} does not serve now (state: {state}).", **headers)

    async def _pass(
        self, request: web.Request, body: bytes, server: Server, process: ServerProcess
    ) -> web.StreamResponse:
        headers = {h: request.headers[h] for h in REQUEST_HEADERS if h in request.headers}
        url = f"http://127.0.0.1:{process.port}{request.path}"
        async with self._endpoint.session.request(
            request.method, url, data=body or None, headers=headers | {TOKEN_HEADER: process.token}
        ) as answer:
            passed = {h: answer.headers[h] for h in ANSWER_HEADERS if h in answer.headers}
            passed[DEPLOYMENT_HEADER] = server.name
            if answer.content_length is not None and answer.content_length <= WHOLE_BYTES:
                whole = await answer.read()
                if answer.status >= 400:  # the message of an error may quote a secret
                    whole = server.redactor.clean(whole)
                return web.Response(status=answer.status, body=whole, headers=passed)
            return await _stream(request, answer, passed)


async def _stream(request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]) -> web.StreamResponse:
    stream = web.StreamResponse(status=answer.status, headers=headers)
    await stream.prepare(request)
    try:
        async for piece in answer.content.iter_any():
            await stream.write(piece)
    except (aiohttp.ClientError, TimeoutError):
        # The status is out: all that is left is to end the connection without the end of the body.
        if request.transport is not None:
            request.transport.abort()
        raise
    await stream.write_eof()
    return stream
