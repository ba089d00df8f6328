"""A small HTTP/1.1 server: persistent connections, one thread each, whole bodies in and out."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

HEAD_BYTES = 64 * 2**10
BODY_BYTES = 32 * 2**20
IDLE_SECONDS = 300.0  # longer than any client of ours keeps an idle connection
MOST_CONNECTIONS = 512
_ONCE = ("content-length", "transfer-encoding")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are in lower case, `path` has no query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""

    def header(self, name: str) -> str:
        """The header's text, or the empty string."""
        return self.headers.get(name, "")


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON text, or what `content_type` says."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class _Malformed(Exception):
    """The request can't be read; the connection ends after this answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class HttpServer:
    """Answers each request with `answer`, in the connection's thread. Port 0: any free one."""

    def __init__(self, answer: Callable[[Request], Answer], *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._answer = answer
        self._listener = socket.create_server((host, port), backlog=MOST_CONNECTIONS)
        self._connections: set[_Connection] = set()
        self._changed = threading.Condition()
        self._stopping = False

    def start(self) -> int:
        """Begin to accept; returns the port."""
        threading.Thread(target=self._accept, name="accept", daemon=True).start()
        return int(self._listener.getsockname()[1])

    def stop(self, seconds: float) -> bool:
        """Accept nothing more, let requests in flight finish for at most `seconds`; True if all did."""
        with self._changed:
            self._stopping = True
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accepting thread on Linux
            self._listener.close()
            for connection in self._connections:
                connection.end_when_idle()
            return self._changed.wait_for(lambda: not self._connections, timeout=seconds)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                if self._stopping:
                    return
                time.sleep(0.05)  # too many open files, or the client has gone: not a reason to end
                continue
            self._admit(client)

    def _admit(self, client: socket.socket) -> None:
        connection = _Connection(client, self._answer)
        with self._changed:
            admitted = not self._stopping and len(self._connections) < MOST_CONNECTIONS
            if admitted:
                self._connections.add(connection)
        if admitted:
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        else:
            client.close()

    def _serve(self, connection: _Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._changed:
                self._connections.discard(connection)
                self._changed.notify_all()


class _Connection:
    """One client's connection: requests one after the other."""

    def __init__(self, client: socket.socket, answer: Callable[[Request], Answer]) -> None:
        self._client = client
        self._answer = answer
        self._buffer = b""
        self._lock = threading.Lock()
        self._busy = self._ending = False
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(IDLE_SECONDS)

    def serve(self) -> None:
        """Answer until the client goes, asks to end, or `end_when_idle` was called."""
        with self._client, contextlib.suppress(OSError):
            while self._serve_one():
                pass

    def end_when_idle(self) -> None:
        """End now if no request is in flight, else after it. May be called from any thread."""
        with self._lock:
            self._ending = True
            if not self._busy:
                with contextlib.suppress(OSError):
                    self._client.shutdown(socket.SHUT_RDWR)

    def _serve_one(self) -> bool:
        try:
            request = self._read()
        except _Malformed as error:
            self._send(
                Answer(error.status, b'{"error": {"code": "BadRequest", "message": "unreadable request"}}'), end=True
            )
            return False
        if request is None:
            return False
        answer = self._answer(request)
        end = self._ending or "close" in request.header("connection").lower()
        self._send(answer, end=end)
        with self._lock:
            self._busy = bool(self._buffer)  # a client may send its next request early
            return not end and (self._busy or not self._ending)

    def _read(self) -> Request | None:
        head = self._read_head()
        if head is None:
            return None
        method, path, query, headers = _parse(head)
        body = self._read_chunks() if _is_chunked(headers) else self._read_body(_length(headers))
        return Request(method, path, headers, body, query)

    def _read_head(self) -> bytes | None:
        while True:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if found:
                self._buffer = rest
                return head
            if len(self._buffer) > HEAD_BYTES:
                raise _Malformed(431)
            data = self._client.recv(65536)
            if not data or not self._begin():
                return None
            self._buffer += data

    def _begin(self) -> bool:
        # From its first byte on a request is in flight; False if the connection was ended before.
        with self._lock:
            self._busy = self._busy or not self._ending
            return self._busy

    def _read_body(self, length: int) -> bytes:
        parts, have = [self._buffer], len(self._buffer)
        while have < length:
            data = self._client.recv(min(length - have, 2**20))
            if not data:
                raise ConnectionResetError
            parts.append(data)
            have += len(data)
        whole = b"".join(parts)
        self._buffer = whole[length:]
        return whole[:length]

    def _read_chunks(self) -> bytes:
        parts: list[bytes] = []
        left = BODY_BYTES
        while size := _chunk_size(self._read_line()):
            left -= size
            if left < 0:
                raise _Malformed(413)
            parts.append(self._read_body(size))
            if self._read_line():
                raise _Malformed(400)
        while self._read_line():  # what may follow the last chunk
            pass
        return b"".join(parts)

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if len(self._buffer) > HEAD_BYTES:
                raise _Malformed(400)
            data = self._client.recv(65536)
            if not data:
                raise ConnectionResetError
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _send(self, answer: Answer, *, end: bool) -> None:
        head = f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, '')}\r\nContent-Type: {answer.content_type}\r\n"
        head += f"Content-Length: {len(answer.body)}\r\n" + ("Connection: close\r\n" if end else "")
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items()) + "\r\n"
        self._client.sendall(head.encode("latin-1") + answer.body)


def _parse(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise _Malformed(400)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not name or name != name.strip() or (key in _ONCE and key in headers):
            raise _Malformed(400)
        headers[key] = value.strip()
    if words[2] == "HTTP/1.0":
        headers["connection"] = "close"
    path, _, query = words[1].partition("?")
    return words[0], path, query, headers


def _is_chunked(headers: Mapping[str, str]) -> bool:
    if "transfer-encoding" not in headers:
        return False
    if "content-length" in headers:  # two lengths: somebody on the way may believe the other one
        raise _Malformed(400)
    if headers["transfer-encoding"].lower() != "chunked":
        raise _Malformed(501)
    return True


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not 0 < len(digits) < 9 or digits.strip(b"0123456789abcdefABCDEF"):
        raise _Malformed(400)
    return int(digits, 16)


def _length(headers: Mapping[str, str]) -> int:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise _Malformed(400)
    if int(text) > BODY_BYTES:
        raise _Malformed(413)
    return int(text)
