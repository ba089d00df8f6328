"""The forward proxy: CONNECT with TLS ended here, plain requests for IMDS, and a closed world behind both."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from asyncio import LimitOverrunError, StreamReader, StreamWriter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from .authority import Authority, trusting
from .exchanges import Exchange
from .faults import Delay, Fault, Reset, Truncated, WrongJson
from .http1 import (
    HEAD_LIMIT,
    NO_BODY,
    Head,
    copy_body,
    read_body,
    read_head,
    request_head,
    response_head,
)
from .wire import Request, Response, error

HOP = frozenset({"connection", "proxy-connection", "keep-alive", "proxy-authorization", "transfer-encoding", "expect"})
SPOILS = Reset | Truncated | WrongJson


@dataclass(frozen=True, slots=True)
class Backend:
    """Another server that answers for a host. What `path` matches at the start of a path is cut off."""

    host: re.Pattern[str]
    target: str
    kind: str
    path: re.Pattern[str]

    def serves(self, host: str, path: str) -> bool:
        """Whether a request is for it."""
        return bool(self.host.fullmatch(host) and self.path.match(path))

    def address(self, url: str) -> str:
        """Path and query at the backend."""
        parts = urlsplit(url)
        rest = self.path.sub("", parts.path, count=1) or "/"
        return f"{urlsplit(self.target).path.rstrip('/')}{rest}{'?' + parts.query if parts.query else ''}"


class Service(Protocol):
    """What the proxy serves: the cloud."""

    def knows(self, host: str) -> bool:
        """Whether anything answers for the host; else it is noted as refused."""

    def backend(self, request: Request) -> Backend | None:
        """The server to pass a request on to, body unread."""

    def gate(self, request: Request, kind: str) -> tuple[Response | None, Fault | None]:
        """For a request that is passed on: an answer without the backend, or a fault to play."""

    async def answer(self, request: Request) -> tuple[Response, Fault | None]:
        """The answer, and how to spoil it on its way."""

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Request:
        """A request that arrives now."""

    def record(self, exchange: Exchange) -> None:
        """Keep an exchange."""

    async def pass_time(self, seconds: float) -> None:
        """Let time pass by the emulator's clock."""


class Connection:
    """One client's connection, until it closes."""

    def __init__(self, service: Service, authority: Authority, reader: StreamReader, writer: StreamWriter) -> None:
        self._service, self._authority = service, authority
        self._reader, self._writer = reader, writer

    async def serve(self) -> None:
        """Serve requests until the client closes, or breaks the protocol."""
        with contextlib.suppress(OSError, EOFError, LimitOverrunError, ProtocolBroken):
            head = await _next_head(self._reader)
            if head and head.first[0] == "CONNECT":
                await self._tunnel(head.first[1].rpartition(":")[0].lower())
            elif head:
                await self._requests(head, "")

    async def _tunnel(self, host: str) -> None:
        if not self._service.knows(host):
            await self._send_head(502, {"Content-Length": "0"})
            return
        self._writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._writer.start_tls(self._authority.context(host))
        head = await _next_head(self._reader)
        if head:
            await self._requests(head, f"https://{host}")

    async def _requests(self, head: Head | None, origin: str) -> None:
        while head:
            keep = await self._one(head, origin)
            head = await _next_head(self._reader) if keep else None

    async def _one(self, head: Head, origin: str) -> bool:
        """Answer one request; returns whether the connection may go on."""
        method, target, _ = head.first
        url, headers = (f"{origin}{target}" if target.startswith("/") else target), head.lower()
        if not origin and not self._service.knows(urlsplit(url).hostname or ""):
            await self._send_head(502, {"Content-Length": "0"})
            return False
        if headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request = self._service.request(method, url, headers, b"")
        backend = self._service.backend(request)
        if backend:
            done = await Passage(self._service, self._reader, self._writer, request, head).through(backend)
        else:
            body = b"".join([piece async for piece in read_body(self._reader, headers)])
            done = await self._answer(self._service.request(method, url, headers, body))
        return done and headers.get("connection", "").lower() != "close"

    async def _answer(self, request: Request) -> bool:
        response, fault = await self._service.answer(request)
        return await send(self._service, self._writer, request, response, fault)

    async def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self._writer.write(response_head(status, headers.items()))
        await self._writer.drain()


class ProtocolBroken(Exception):
    """The client sent something that is no HTTP."""


async def _next_head(reader: StreamReader) -> Head | None:
    try:
        return await read_head(reader)
    except ValueError as wrong:
        raise ProtocolBroken(str(wrong)) from wrong


async def send(
    service: Service, writer: StreamWriter, request: Request, response: Response, fault: Fault | None
) -> bool:
    """Send an answer whole, or spoilt as the fault says; returns whether the connection may go on."""
    content = fault.body if isinstance(fault, WrongJson) else response.content()
    headers = dict(response.wire_headers())
    if response.status not in NO_BODY:
        headers["Content-Length"] = str(len(content))
    bare = request.method == "HEAD" or response.status in NO_BODY
    broken = isinstance(fault, SPOILS)
    sent = None if bare else content
    service.record(
        Exchange(
            request.at,
            request.method,
            request.url,
            request.headers,
            request.body,
            response.status,
            headers,
            sent,
            broken,
        )
    )
    if isinstance(fault, Reset):
        reset(writer)
        return False
    writer.write(response_head(response.status, headers.items()))
    if not bare:
        writer.write(content[: len(content) // 2] if isinstance(fault, Truncated) else content)
    await writer.drain()
    return not isinstance(fault, Truncated)


def reset(writer: StreamWriter) -> None:
    """Break the connection so that the other side sees a reset, not an end."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Passage:
    """One request on its way to a backend and back, as a stream in both directions."""

    def __init__(
        self, service: Service, reader: StreamReader, writer: StreamWriter, request: Request, head: Head
    ) -> None:
        self._service, self._request, self._head = service, request, head
        self._reader, self._writer = reader, writer

    async def through(self, backend: Backend) -> bool:
        """Pass it on; returns whether the client's connection may go on."""
        answer, fault = self._service.gate(self._request, backend.kind)
        if answer or (isinstance(fault, Reset) and not fault.after_commit):
            await self._skip_body()
            return await send(self._service, self._writer, self._request, answer or Response(0), fault)
        if isinstance(fault, Delay):
            await self._service.pass_time(fault.seconds)
        try:
            upstream, downstream = await self._connect(backend)
        except OSError as down:
            await self._skip_body()
            lost = error(502, "BadGateway", f"{backend.target}: {down}")
            return await send(self._service, self._writer, self._request, lost, None)
        try:
            return await self._exchange(backend, upstream, downstream, fault)
        finally:
            downstream.close()

    async def _connect(self, backend: Backend) -> tuple[StreamReader, StreamWriter]:
        target = urlsplit(backend.target)
        assert target.hostname is not None
        secure = trusting() if target.scheme == "https" else None
        return await asyncio.open_connection(target.hostname, target.port, ssl=secure, limit=HEAD_LIMIT)

    async def _skip_body(self) -> None:
        async for _ in read_body(self._reader, self._request.headers):
            pass

    async def _exchange(self, backend: Backend, back: StreamReader, forth: StreamWriter, fault: Fault | None) -> bool:
        chunked = self._request.headers.get("transfer-encoding", "").lower() == "chunked"
        headers = _passed_on(self._head, chunked=chunked)
        forth.write(request_head(self._request.method, backend.address(self._request.url), headers))
        await copy_body(read_body(self._reader, self._request.headers), forth, chunked=chunked)
        head = await read_head(back)
        while head and head.first[1].startswith("1"):
            head = await read_head(back)
        if head is None:
            raise ConnectionError(f"{backend.target} closed without an answer")
        if isinstance(fault, SPOILS):
            spoilt = Response(int(head.first[1]), b"" if isinstance(fault, Reset) else b"{}" * 20)
            return await send(self._service, self._writer, self._request, spoilt, fault)
        await self._return(head, back)
        return True

    async def _return(self, head: Head, back: StreamReader) -> None:
        status, known = int(head.first[1]), head.lower()
        bare = self._request.method == "HEAD" or status in NO_BODY
        chunked = not bare and "content-length" not in known
        headers = _passed_on(head, chunked=chunked, close=False)
        self._record(status, headers)
        self._writer.write(response_head(status, headers))
        if not bare:
            await copy_body(read_body(back, known, until_close=True), self._writer, chunked=chunked)
        await self._writer.drain()

    def _record(self, status: int, headers: list[tuple[str, str]]) -> None:
        asked = self._request
        self._service.record(
            Exchange(asked.at, asked.method, asked.url, asked.headers, None, status, dict(headers), None)
        )


def _passed_on(head: Head, *, chunked: bool, close: bool = True) -> list[tuple[str, str]]:
    kept = [(name, value) for name, value in head.headers if name.lower() not in HOP]
    coding = [("Transfer-Encoding", "chunked")] if chunked else []
    return [*kept, *coding, *([("Connection", "close")] if close else [])]
