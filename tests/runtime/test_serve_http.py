"""The server's HTTP, byte by byte."""

from __future__ import annotations

import itertools
import socket
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runner_fixture import RUNTIME

sys.path.insert(0, str(RUNTIME))
from sluice_runner.serve_http import Answer, HttpServer, Request


def echo(request: Request) -> Answer:
    if request.path == "/slow":
        time.sleep(0.3)
    return Answer(200, request.method.encode() + b" " + request.path.encode() + b" " + request.body)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = HttpServer(echo)
    yield server.start()
    server.stop(5)


def talk(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send the pieces, then read to the end of what the server says."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def post(body: bytes, path: str = "/score", more: bytes = b"") -> bytes:
    return b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n%s\r\n%s" % (path.encode(), len(body), more, body)


def test_one_connection_serves_many_requests(port: int) -> None:
    said = talk(port, post(b"one"), post(b"two"), b"GET /health?x=1 HTTP/1.1\r\nHost: here\r\n\r\n")
    assert said.count(b"HTTP/1.1 200 OK") == 3
    assert b"POST /score one" in said
    assert said.endswith(b"GET /health ")


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=300), cuts=st.lists(st.integers(0, 400), max_size=5))
def test_however_a_request_is_cut_it_is_the_same(port: int, body: bytes, cuts: list[int]) -> None:
    data = post(body) + post(body)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    said = talk(port, *(data[a:b] for a, b in itertools.pairwise(edges)))
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (12 + len(body))
    assert said == (answer + b"POST /score " + body) * 2


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.binary(min_size=1, max_size=80), max_size=5), cuts=st.lists(st.integers(0, 600), max_size=5))
def test_a_body_in_chunks_is_put_together(port: int, pieces: list[bytes], cuts: list[int]) -> None:
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    data = b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nMore: x\r\n\r\n"
    data += post(b"next")
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    said = talk(port, *(data[a:b] for a, b in itertools.pairwise(edges)))
    assert b"POST /score " + b"".join(pieces) + b"HTTP/1.1 200" in said
    assert said.endswith(b"POST /score next")


def test_a_client_of_the_old_kind_gets_one_answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close" in said


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"POST /score HTTP/2.0\r\n\r\n", 400),
        (b"POST /score HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST /score HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n", 400),
        (b"POST /score HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /score HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST /score HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /score HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", 400),
        (b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        (b"POST /score HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n", 413),
        (b"POST /score HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
    ],
)
def test_what_cannot_be_read_is_refused_and_ends_the_connection(port: int, sent: bytes, status: int) -> None:
    said = talk(port, sent)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in said


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_disturb_it(port: int, noise: bytes) -> None:
    talk(port, noise)
    assert talk(port, post(b"still here")).endswith(b"still here")


def test_a_client_may_ask_for_the_end(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(post(b"", more=b"Connection: close\r\n"))
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"Connection: close" in said


def test_stopping_ends_idle_connections_and_lets_busy_ones_finish() -> None:
    server = HttpServer(echo)
    port = server.start()
    idle = socket.create_connection(("127.0.0.1", port), timeout=5)
    said: list[bytes] = []
    busy = threading.Thread(target=lambda: said.append(talk(port, post(b"x", "/slow"))))
    busy.start()
    time.sleep(0.1)
    assert server.stop(5)
    busy.join()
    assert said[0].endswith(b"POST /slow x")
    assert idle.recv(1) == b""
    idle.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_stopping_gives_up_after_its_time() -> None:
    release = threading.Event()
    server = HttpServer(lambda _: (release.wait(10), Answer(200, b""))[1])
    port = server.start()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(post(b"x"))
        time.sleep(0.1)
        assert not server.stop(0.1)
        release.set()
