"""One server that stands for the container of every deployment: for tests of what happens around the serving."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from azure_emulator import Cloud
from azure_emulator.container_logs import ContainerLogs
from azure_emulator.containers import Container, Containers, Order, routes_of

ANSWER = {"answer": "hello a"}


class Handler(BaseHTTPRequestHandler):
    """Healthy, and always of the same opinion."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._say({"status": "ok"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._say(ANSWER)

    def _say(self, what: dict[str, str]) -> None:
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class SharedContainer(Container):
    """A container without a process of its own."""

    def __init__(self, url: str, routes: dict[str, str]) -> None:
        self.url, self.routes, self.pending = url, routes, 0

    runs = True

    def end(self) -> None:
        """The server goes on: others share it."""


@contextmanager
def shared_container(cloud: Cloud) -> Iterator[None]:
    """From now on no deployment of the cloud gets a process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"

    async def start(order: Order, logs: ContainerLogs) -> Container:
        logs.pulling()
        logs.downloading()
        logs.downloaded()
        logs.ready()
        return SharedContainer(url, routes_of(order.environment))

    cloud.of(Containers).start = start
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
