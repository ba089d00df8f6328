"""One request of a prompt flow on its way to the provider and back, over as many attempts as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from orchestration.errors import SluiceError
from orchestration.model_proxy import answers
from orchestration.model_proxy.controller import Ticket
from orchestration.model_proxy.cost import size_of
from orchestration.model_proxy.hints import read_hints, retry_after
from orchestration.model_proxy.meter import Meter
from orchestration.model_proxy.translate import Target
from orchestration.model_proxy.turnstile import Turnstile, Visitor
from orchestration.model_proxy.upstream import Upstream
from orchestration.model_proxy.usage import TAIL_BYTES, read_usage
from orchestration.values import Tokens

_WORTH_REPEATING = frozenset({408, 409, 500, 502, 503, 504, 507, 508, 520, 521, 522, 523, 524, 529})
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
_NOT_SENT = _HOP_BY_HOP | {
    *("host", "content-length", "content-encoding", "accept-encoding", "expect", "cookie"),
    *("authorization", "api-key", "x-api-key", "ocp-apim-subscription-key"),
}
_NOT_RETURNED = _HOP_BY_HOP | {
    *("content-length", "content-encoding", "date", "server", "set-cookie"),
    *("retry-after", "retry-after-ms", "x-should-retry"),
}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0  # seconds, before jitter
_SHOWN = 300  # bytes of a provider's last words


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a request may wait for a rate limit, and may be repeated because of failures; how to wait."""

    limit: float = 600.0
    failure: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class _Reply:
    """What the provider said, wholly read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Unreachable(Exception):
    """No answer, or only a part of one; the message is fit for users."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


@dataclass(slots=True)
class Exchange:
    """`run` gives the one answer that the prompt flow gets."""

    connection: str
    upstream: Upstream
    session: aiohttp.ClientSession
    turnstile: Turnstile
    meter: Meter
    patience: Patience
    request: web.BaseRequest
    target: Target
    failures: int = 0
    give_up: float | None = None  # loop time after which a failure is not repeated
    sent_key: str = field(default="", repr=False)  # with the last attempt: `upstream` may change between two

    async def run(self) -> web.StreamResponse:
        self.meter.requested(self.connection)
        visitor = self.turnstile.visitor(size_of(self.target.body), patience=self.patience.limit)
        while True:
            answer = await self._attempt(visitor)
            if answer is not None:
                return answer

    async def _attempt(self, visitor: Visitor) -> web.StreamResponse | None:
        """An answer for the prompt flow, or None if there should be another attempt."""
        try:
            ticket = await self.turnstile.enter(visitor)
        except TimeoutError:
            return answers.limit_deadline(self.connection, self.patience.limit)
        try:
            if self.meter.reached.is_set():
                self.turnstile.lost(ticket)
                return answers.ceiling(self.meter.reason)
            reply = await self._send(ticket)
        except _Unreachable as error:
            return await self._repeat(str(error), permanent=error.permanent)
        except SluiceError as error:
            return answers.upstream_failed(self.connection, str(error))
        return reply if isinstance(reply, web.StreamResponse) else await self._judge(reply)

    async def _judge(self, reply: _Reply) -> web.StreamResponse | None:
        if reply.status == 429 and b"insufficient_quota" not in reply.body:
            self.meter.retried(self.connection, rate_limited=True)
            return None
        if reply.status in _WORTH_REPEATING:
            words = self._without_key(reply.body)[:_SHOWN].decode("utf-8", "replace")
            return await self._repeat(
                f"the provider answered {reply.status}: {words}", asked=retry_after(reply.headers)
            )
        return self._returned(reply)

    async def _repeat(
        self, reason: str, *, permanent: bool = False, asked: float | None = None
    ) -> web.StreamResponse | None:
        """Back off with full jitter, not less than was asked for; an answer if the time is up."""
        now = asyncio.get_running_loop().time()
        self.give_up = self.give_up or now + self.patience.failure
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self.failures)
        pause = max(random.uniform(0, longest), asked or 0.0)  # noqa: S311 - spreading, not secrecy
        if permanent or now + pause > self.give_up:
            return answers.upstream_failed(self.connection, reason)
        self.failures += 1
        self.meter.retried(self.connection, rate_limited=False)
        await self.patience.sleep(pause)
        return None

    async def _send(self, ticket: Ticket) -> _Reply | web.StreamResponse:
        """One attempt. The turnstile always hears how the ticket ended."""
        told = False
        try:
            headers = await self._headers()
            async with self.session.request(
                self.request.method,
                URL(self.target.url, encoded=True),
                data=self.target.body or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                if response.content_type == "text/event-stream" and response.status == 200:
                    self.turnstile.answered(ticket, read_hints(response.headers), None)
                    told = True
                    return await self._stream(response)
                reply = _Reply(response.status, response.headers, await response.read())
            self._report(ticket, reply)
            told = True
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from None
        else:
            return reply
        finally:
            if not told:
                self.turnstile.lost(ticket)

    def _report(self, ticket: Ticket, reply: _Reply) -> None:
        if reply.status == 429:
            self.turnstile.refused(ticket, read_hints(reply.headers, refusal=reply.body))
            return
        self.turnstile.answered(ticket, read_hints(reply.headers), self._count(reply.body))

    def _count(self, body: bytes) -> Tokens | None:
        tokens = read_usage(body)
        if tokens is not None:
            self.meter.used(self.connection, tokens)
        return tokens

    async def _stream(self, response: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass on each piece as it comes. What has begun can't be repeated: a break breaks the client's stream too."""
        answer = web.StreamResponse(status=response.status, headers=_passed(response.headers, _NOT_RETURNED))
        await answer.prepare(self.request)
        tail = b""
        try:
            async for piece in response.content.iter_any():
                tail = (tail + piece)[-TAIL_BYTES:]
                await answer.write(piece)
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._break_off()
            return answer
        self._count(tail)
        await answer.write_eof()
        return answer

    def _break_off(self) -> None:
        if self.request.transport is not None:
            self.request.transport.abort()

    def _returned(self, reply: _Reply) -> web.Response:
        headers = _passed(reply.headers, _NOT_RETURNED)
        if reply.status < 400:
            return web.Response(status=reply.status, body=reply.body, headers=headers)
        headers.update(answers.NO_RETRY)
        return web.Response(status=reply.status, body=self._without_key(reply.body), headers=headers)

    async def _headers(self) -> CIMultiDict[str]:
        headers = _passed(self.request.headers, _NOT_SENT)
        headers["Accept-Encoding"] = "identity"
        self.sent_key = self.upstream.api_key or ""
        headers.update(await self.upstream.headers())
        return headers

    def _without_key(self, body: bytes) -> bytes:
        """Some servers repeat the key in their error messages."""
        key = self.sent_key.encode()
        return body.replace(key, b"***") if key else body


def _passed(headers: Mapping[str, str], without: frozenset[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in without)


def _unreachable(error: Exception) -> _Unreachable:
    """Say what happened without the words of the library: they may hold more than users should see."""
    if isinstance(error, aiohttp.ClientSSLError):
        return _Unreachable("the provider's certificate can't be verified", permanent=True)
    if isinstance(error, TimeoutError):
        return _Unreachable("the provider did not answer in time")
    if isinstance(error, aiohttp.ClientConnectorError):
        return _Unreachable(f"the provider can't be reached: {error.strerror or type(error).__name__}")
    return _Unreachable(f"the connection to the provider was lost ({type(error).__name__})")
