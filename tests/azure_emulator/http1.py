"""HTTP/1.1 on asyncio streams, the same code for both directions: heads, and bodies chunk by chunk."""

from __future__ import annotations

from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

CHUNK = 64 * 1024
HEAD_LIMIT = 256 * 1024  # of the stream readers: longer heads are an error
NO_BODY = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Head:
    """A start line and its headers. `first`: method, target, version; or version, status, reason."""

    first: tuple[str, str, str]
    headers: tuple[tuple[str, str], ...]

    def lower(self) -> dict[str, str]:
        """The headers by lower-case name; the last of several wins."""
        return {name.lower(): value for name, value in self.headers}


async def read_head(reader: StreamReader) -> Head | None:
    """The next head; None if the other side has closed instead. Raises `ValueError` for anything else."""
    try:
        text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except IncompleteReadError as ended:
        if ended.partial.strip():
            raise ValueError("the connection ended in the middle of a head") from None
        return None
    first, *lines = text.strip("\r\n").split("\r\n")
    one, two, three, *_ = *first.split(" ", 2), "", ""
    return Head((one, two, three), tuple(_header(line) for line in lines))


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


async def read_body(
    reader: StreamReader, headers: Mapping[str, str], *, until_close: bool = False
) -> AsyncIterator[bytes]:
    """The body's pieces. `until_close`: it is a response, which may end with its connection."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        async for piece in _chunked(reader):
            yield piece
    elif "content-length" in headers:
        async for piece in _counted(reader, int(headers["content-length"])):
            yield piece
    elif until_close:
        while piece := await reader.read(CHUNK):
            yield piece


async def _counted(reader: StreamReader, length: int) -> AsyncIterator[bytes]:
    while length:
        piece = await reader.read(min(length, CHUNK))
        if not piece:
            raise ConnectionError("the connection ended in the middle of a body")
        length -= len(piece)
        yield piece


async def _chunked(reader: StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        async for piece in _counted(reader, size):
            yield piece
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """A response's start line and headers."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    return _head(f"HTTP/1.1 {status} {reason}", headers)


def request_head(method: str, target: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A request's start line and headers."""
    return _head(f"{method} {target} HTTP/1.1", headers)


def _head(first: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def copy_body(pieces: AsyncIterator[bytes], writer: StreamWriter, *, chunked: bool) -> None:
    """Send a body on as it comes, with back-pressure."""
    async for piece in pieces:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
        await writer.drain()
