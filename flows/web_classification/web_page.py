"""Web pages: fetching one without reaching into private networks, and the text that a reader would see.

Standard library only. Proxies named in the environment are not used: the address that was checked is the one that is
connected to.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Callable
from html.parser import HTMLParser
from urllib.parse import SplitResult, urljoin, urlsplit

TIMEOUT_SECONDS = 10.0
MOST_BYTES = 2_000_000
MOST_REDIRECTS = 5
MOST_CHARACTERS = 8_000  # of text: what a model needs to see of a page
HEADERS = {"User-Agent": "web-classification/1", "Accept": "text/html,text/plain", "Accept-Encoding": "identity"}
PORTS = {"http": 80, "https": 443}
REDIRECTS = {301, 302, 303, 307, 308}
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv6 addresses that stand for IPv4 ones
UNICAST = ipaddress.ip_network("2000::/3")  # all that is given out of IPv6; outside of it are local and old notations

Allowed = Callable[[str], bool]


class PageError(Exception):
    """The page can't be fetched, or must not be."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet: not private, loopback, link-local, reserved or multicast."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if inner:
            return is_public(str(inner))
        if ip in TRANSLATED:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        if ip not in UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


def fetch(url: str, *, allowed: Allowed = is_public, timeout_seconds: float = TIMEOUT_SECONDS) -> str:
    """The HTML at `url`. Redirects are followed, and each target is checked as the first address was.

    Raises `PageError`: no http(s) address, an address that is not `allowed`, no answer in time, an error status, more
    than `MOST_BYTES`, or something that is no text. The time for looking a name up is the resolver's own.
    """
    deadline = time.monotonic() + timeout_seconds
    for _ in range(MOST_REDIRECTS + 1):
        target = _target(url)
        try:
            found, is_redirect = _get(target, _address(target, allowed), deadline)
        except (OSError, http.client.HTTPException) as error:
            raise PageError(f"{target.hostname} did not answer as it should: {error}") from error
        if not is_redirect:
            return found
        url = urljoin(url, found)
    raise PageError(f"more than {MOST_REDIRECTS} redirects, the last to {url}")


def _target(url: str) -> SplitResult:
    try:
        target = urlsplit(url)
        port = target.port
    except ValueError as error:
        raise PageError(f"not an address: {error}") from None
    if target.scheme not in PORTS or not target.hostname or target.username is not None or port == 0:
        raise PageError(f"not an http or https address of a public page: {url}")
    return target


def _port(target: SplitResult) -> int:
    return target.port or PORTS[target.scheme]


def _address(target: SplitResult, allowed: Allowed) -> str:
    """One IP address of the host. If any of them is not allowed the host is refused: which one answers is chance."""
    try:
        found = socket.getaddrinfo(target.hostname, _port(target), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise PageError(f"{target.hostname} has no address: {error}") from None
    addresses = [str(entry[4][0]) for entry in found]
    refused = [address for address in addresses if not allowed(address)]
    if refused:
        raise PageError(f"{target.hostname} leads to {refused[0]}, which is not on the public internet")
    return addresses[0]


class _Timed(io.RawIOBase):
    """What a socket receives until a deadline. The socket's own time-out starts anew with each byte, headers included."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = sock, deadline
        self._received = sock.makefile("rb", buffering=0)

    def makefile(self, _: str) -> io.BufferedReader:
        """What `HTTPResponse` asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:
        self._socket.settimeout(_left(self._deadline))
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Connection(http.client.HTTPConnection):
    """To an address that was checked, whatever the name resolves to by now."""

    def __init__(self, target: SplitResult, address: str, deadline: float) -> None:
        super().__init__(target.hostname or "", _port(target), timeout=_left(deadline))
        self.response_class = lambda sock, **rest: http.client.HTTPResponse(_Timed(sock, deadline), **rest)
        self.default_port = PORTS[target.scheme]
        self._tls = target.scheme == "https"
        self._address = address

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def _get(target: SplitResult, address: str, deadline: float) -> tuple[str, bool]:
    """The page and False, or where it has moved to and True."""
    connection = _Connection(target, address, deadline)
    try:
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        connection.request("GET", path, headers=HEADERS)
        response = connection.getresponse()
        moved_to = response.getheader("Location")
        if response.status in REDIRECTS and moved_to:
            return moved_to, True
        _check(response)
        body = _read(response)
        return body.decode(_charset(response, body), "replace"), False
    finally:
        connection.close()


def _check(response: http.client.HTTPResponse) -> None:
    if response.status != 200:
        raise PageError(f"status {response.status} {response.reason}")
    kind = response.headers.get_content_type()
    if not kind.startswith("text/") and kind != "application/xhtml+xml":
        raise PageError(f"{kind} is not a page of text")
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise PageError("the page is compressed, which was not asked for")


def _read(response: http.client.HTTPResponse) -> bytes:
    body = bytearray()
    while part := response.read1(65_536):
        body += part
        if len(body) > MOST_BYTES:
            raise PageError(f"more than {MOST_BYTES} bytes")
    return bytes(body)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise PageError("the page took too long")
    return left


def _charset(response: http.client.HTTPResponse, body: bytes) -> str:
    """As the header says, or the page itself, or UTF-8."""
    said = re.search(rb"<meta[^>]{1,80}charset=[\"']?([\w-]{1,40})", body[:2048], re.IGNORECASE)
    name = response.headers.get_content_charset() or (said[1].decode("ascii", "replace") if said else "utf-8")
    try:
        "".encode(name)
    except LookupError:
        return "utf-8"
    return name


BOILERPLATE = frozenset({"nav", "footer", "form", "aside"})
INVISIBLE = frozenset({"script", "style", "noscript", "template", "svg", "iframe"})
BLOCKS = frozenset(
    [
        "address",
        "article",
        "blockquote",
        "br",
        "dd",
        "div",
        "dl",
        "dt",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "ol",
        "option",
        "p",
        "pre",
        "section",
        "table",
        "td",
        "th",
        "tr",
        "ul",
    ]
)


class _Reader(HTMLParser):
    """Collects what is visible outside of `skipped` elements: `head` (title, description), `body`, and `main` alone."""

    def __init__(self, skipped: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.head: list[str] = []
        self.body: list[str] = []
        self.main: list[str] = []
        self._skipped = skipped
        self._open = {"title": 0, "main": 0, "skipped": 0}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta" and dict(attrs).get("name") == "description":
            self.head.append(f"\n{dict(attrs).get('content') or ''}")
        self._count(tag, 1)

    def handle_endtag(self, tag: str) -> None:
        self._count(tag, -1)

    def handle_data(self, data: str) -> None:
        if self._open["title"]:
            self.head.append(data)
        elif not self._open["skipped"]:
            self.body.append(data)
            if self._open["main"]:
                self.main.append(data)

    def _count(self, tag: str, by: int) -> None:
        kind = "skipped" if tag in self._skipped else tag
        if kind in self._open:
            self._open[kind] = max(0, self._open[kind] + by)
        if tag in BLOCKS:
            self.handle_data("\n")


def text_of(html: str) -> str:
    """The title, and what a reader sees of the page, a line per block: its `main` part if it has one, else all but
    menus and footers, unless there is nothing else."""
    reader = _read_all(html, INVISIBLE | BOILERPLATE)
    found = _lines(reader.main) or _lines(reader.body) or _lines(_read_all(html, INVISIBLE).body)
    return "\n".join(_lines(reader.head) + found)[:MOST_CHARACTERS]


def _read_all(html: str, skipped: frozenset[str]) -> _Reader:
    reader = _Reader(skipped)
    reader.feed(html)
    reader.close()
    return reader


def _lines(parts: list[str]) -> list[str]:
    lines = (" ".join(line.split()) for line in "".join(parts).splitlines())
    return [line for line in lines if line]
