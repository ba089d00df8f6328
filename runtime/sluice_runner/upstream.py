"""Connections to model providers: kept open between calls, through the web proxy of the environment if there is one."""

from __future__ import annotations

import base64
import http.client
import urllib.request
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from sluice_runner.serve_http import Answer, Request

SECONDS = 120.0  # without a byte


class Connections:
    """One connection to each host. For one thread."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def send(self, request: Request, headers: Mapping[str, str]) -> Answer:
        """The answer, wholly read; `request.path` is a full address. Raises OSError and `http.client.HTTPException`."""
        url = urlsplit(request.path)
        place = (url.scheme, url.netloc)
        kept = self._open.pop(place, None)
        if kept is not None:
            try:
                return self._exchange(place, kept, url, request, headers)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                pass  # closed by the other side while nobody used it: nothing was answered
        return self._exchange(place, connect(url), url, request, headers)

    def _exchange(
        self,
        place: tuple[str, str],
        connection: http.client.HTTPConnection,
        url: SplitResult,
        request: Request,
        headers: Mapping[str, str],
    ) -> Answer:
        target = f"{url.path}?{url.query}" if url.query else url.path
        try:
            connection.request(request.method, target, request.body or None, dict(headers))
            answer = connection.getresponse()
            body = answer.read()
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self._open[place] = connection
        said = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, body, said.get("content-type", "application/octet-stream"), said)


def connect(url: SplitResult) -> http.client.HTTPConnection:
    """A connection to the address's host; it is opened when it is used."""
    host, port = url.hostname or "", url.port
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    proxy = _proxy(url)
    if proxy is None:
        return kind(host, port, timeout=SECONDS)
    connection = kind(proxy.hostname or "", proxy.port or 80, timeout=SECONDS)
    connection.set_tunnel(host, port, _sign_in(proxy))
    return connection


def _proxy(url: SplitResult) -> SplitResult | None:
    address = urllib.request.getproxies().get(url.scheme)
    if not address or urllib.request.proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    return urlsplit(address if "://" in address else f"http://{address}")


def _sign_in(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}
