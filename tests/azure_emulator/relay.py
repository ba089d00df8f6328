"""Passing a request on to a server on loopback, whole: for services that look into it first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from .wire import Request, Response

if TYPE_CHECKING:
    from .cloud import Cloud

# Of one connection only, or made anew by the client and by whoever sends the answer.
DROPPED = {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "transfer-encoding", "expect"}
DROPPED |= {"content-length", "content-encoding", "accept-encoding", "host", "date", "server"}


class Relay:
    """One HTTP client for the cloud's services. `url` of a call has no query: it is the request's."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()

    async def send(
        self, request: Request, url: str, *, headers: Mapping[str, str] | None = None, seconds: float = 120
    ) -> Response:
        """The server's answer. Raises `TimeoutError` after so many seconds, `aiohttp.ClientError` if there is none."""
        kept = {name: value for name, value in request.headers.items() if name not in DROPPED}
        query = urlsplit(request.url).query
        async with self._open().request(
            request.method,
            f"{url}?{query}" if query else url,
            data=request.body,
            headers={**kept, **(headers or {})},
            timeout=aiohttp.ClientTimeout(total=seconds),
            allow_redirects=False,
        ) as answer:
            told = {name: value for name, value in answer.headers.items() if name.lower() not in DROPPED}
            return Response(answer.status, await answer.read(), told)

    async def status(self, url: str, *, seconds: float) -> int:
        """The status of a GET, 0 if nobody answers in time."""
        try:
            async with self._open().get(url, timeout=aiohttp.ClientTimeout(total=seconds)) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=True)
        return self._session


def install(cloud: Cloud) -> None:
    """One for all services of the cloud."""
    relay = Relay()
    cloud.add(relay)
    cloud.at_stop(relay.close)
