"""Requests that the proxy streams to other servers, and the faults of such streams."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import requests
from azure_clients import bearer
from azure_emulator import Cloud
from azure_emulator.faults import Delay, Reset, Status, Truncated, WrongJson

BLOB = "https://account.blob.core.windows.net/container/blob"


class Sums(BaseHTTPRequestHandler):
    """Answers with what it got: length and hash of the body, path and host."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self._body()
        text = f"{len(body)} {hashlib.sha256(body).hexdigest()} {self.path} {self.headers['Host']}".encode()
        self._answer(201, text)

    def do_GET(self) -> None:
        if self.path.endswith("/endless"):  # its end is the connection's
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"to the end")
            self.close_connection = True
        else:
            self._answer(200, b"got")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "12345")
        self.end_headers()

    def do_DELETE(self) -> None:
        self.send_response(204)
        self.end_headers()

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def backend(cloud: Cloud) -> Iterator[int]:
    """A server behind the blob hosts of the cloud."""
    with serving(Sums) as port:
        cloud.forward(r"\w+\.blob\.core\.windows\.net", f"http://127.0.0.1:{port}")
        yield port


@pytest.mark.parametrize("chunked", [True, False])
def test_a_large_upload_reaches_the_backend_whole_under_the_hosts_name(
    cloud: Cloud, backend: int, chunked: bool
) -> None:
    body = bytes(range(256)) * 100_000
    pieces = (body[start : start + 1_000_000] for start in range(0, len(body), 1_000_000))
    answer = requests.put(f"{BLOB}?sig=a%2Fb", data=pieces if chunked else body, timeout=30)
    length, digest, path, host = answer.text.split()
    assert (answer.status_code, int(length), digest) == (201, len(body), hashlib.sha256(body).hexdigest())
    assert (path, host) == ("/container/blob?sig=a%2Fb", "account.blob.core.windows.net")
    (exchange,) = cloud.exchanges
    assert (exchange.status, exchange.request_body) == (201, None)


def test_an_upload_is_passed_on_while_it_comes(cloud: Cloud) -> None:
    begun = threading.Event()

    class Watches(Sums):
        def do_PUT(self) -> None:
            assert self.rfile.peek(1)
            begun.set()
            super().do_PUT()

    def pieces() -> Iterator[bytes]:
        yield b"first"
        assert begun.wait(10), "the backend did not get the first piece before the last was sent"
        yield b"last"

    with serving(Watches) as port:
        cloud.forward(r"\w+\.blob\.core\.windows\.net", f"http://127.0.0.1:{port}")
        assert requests.put(BLOB, data=pieces(), timeout=10).text.split()[0] == "9"


def test_answers_of_every_form_come_back_from_the_backend(cloud: Cloud, backend: int) -> None:
    with httpx.Client() as client:
        for _ in range(2):
            assert client.get(BLOB).text == "got"
            assert client.head(BLOB).headers["content-length"] == "12345"
            assert client.delete(BLOB).status_code == 204
            assert client.get(f"{BLOB}/endless").text == "to the end"


def test_a_part_of_a_hosts_paths_can_lead_elsewhere(cloud: Cloud, backend: int) -> None:
    target = f"http://127.0.0.1:{backend}/base"
    cloud.forward(r"\w+\.api\.azureml\.ms", target, path=r"/mlflow/v\d/[^/]+", kind="mlflow")
    address = "https://westeurope.api.azureml.ms/mlflow/v2/studio/api/2.0/runs"
    answer = requests.put(address, data=b"x", headers=bearer(cloud), timeout=10)
    assert answer.text.split()[2] == "/base/api/2.0/runs"
    assert requests.put(address, data=b"x", timeout=10).status_code == 401


def test_a_backend_with_tls_of_its_own(cloud: Cloud) -> None:
    with serving(Sums, cloud._authority.context("localhost")) as port:
        cloud.forward(r"secure\.example", f"https://127.0.0.1:{port}")
        assert requests.get("https://secure.example/", timeout=10).text == "got"


def test_a_backend_that_is_down_is_a_bad_gateway(cloud: Cloud, free_port: int) -> None:
    cloud.forward(r"down\.example", f"http://127.0.0.1:{free_port}")
    assert requests.put("https://down.example/", data=b"x" * 1_000_000, timeout=10).status_code == 502


@pytest.mark.parametrize(
    ("fault", "reached"),
    [(Status(503, "ServerBusy", "Busy."), False), (Reset(), False), (Reset(after_commit=True), True)],
)
def test_faults_of_uploads(cloud: Cloud, fault: Status | Reset, reached: bool) -> None:
    done: list[int] = []

    class Keeps(Sums):
        def do_PUT(self) -> None:
            done.append(len(self._body()))
            self._answer(201, b"")

    cloud.scenario.fault("PUT", "blob", fault)
    with serving(Keeps) as port:
        cloud.forward(r"\w+\.blob\.core\.windows\.net", f"http://127.0.0.1:{port}")
        if isinstance(fault, Status):
            assert requests.put(BLOB, data=b"x" * 500_000, timeout=10).status_code == 503
        else:
            with pytest.raises(requests.exceptions.ConnectionError):
                requests.put(BLOB, data=b"x" * 500_000, timeout=10)
        assert done == ([500_000] if reached else [])
        assert requests.put(BLOB, data=b"again", timeout=10).status_code == 201


@pytest.mark.parametrize("fault", [Truncated(), WrongJson(), Delay(7.0)])
def test_faults_of_downloads(cloud: Cloud, backend: int, fault: Truncated | WrongJson | Delay) -> None:
    cloud.scenario.fault("GET", "blob", fault)
    if isinstance(fault, Truncated):
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.get(BLOB, timeout=10)
    else:
        assert requests.get(BLOB, timeout=10).text == (fault.body.decode() if isinstance(fault, WrongJson) else "got")
    assert cloud.clock.now() == (7.0 if isinstance(fault, Delay) else 0.0)
