"""A model server on loopback: answers chat completions in capitals and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeModel(ThreadingHTTPServer):
    """`asked` holds (path, headers, body) of each request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []

    @property
    def connection(self):
        url = f"http://127.0.0.1:{self.server_port}/nonce"
        return {"type": "llm", "base_url": url, "api_key": "dummy", "model": "bound-model"}

    @property
    def paths(self):
        return [path.partition("?")[0] for path, _, _ in self.asked]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers, body))
        text = body["messages"][-1]["content"].upper()
        answer = json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}},
                ],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_CONNECT(self):  # somebody takes this server for a proxy to the outside
        self.server.asked.append((self.path, dict(self.headers), None))
        self.send_error(502)

    def do_GET(self):
        self.do_CONNECT()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def fake_model():
    server = FakeModel()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
