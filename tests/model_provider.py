"""A model provider on this machine that remembers the keys it was called with, and a prompt flow that calls it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

KEY = "canary-key-91d2c7"
SOURCE = """
import json, os, urllib.request
def answer(text: str, connections):
    model = connections["aoai"]
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + model["api_key"]}
    request = urllib.request.Request(model["base_url"] + "/v1/chat/completions", body, headers)
    said = json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
    return {"label": said, "by": "VERSION", "key": model["api_key"], "pid": os.getpid()}
"""


class Provider(BaseHTTPRequestHandler):
    """Answers `<model>: <what was said>`; to `wait` only once `go_on` is set."""

    protocol_version = "HTTP/1.1"
    keys: ClassVar[list[str]] = []
    go_on: ClassVar[threading.Event] = threading.Event()

    def do_POST(self) -> None:
        self.keys.append(self.headers["Authorization"])
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        said = asked["messages"][0]["content"]
        if said == "wait":
            self.go_on.wait(30)
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {
            "id": "1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": f"{asked['model']}: {said}"}}],
            "usage": usage,
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def serve_provider() -> ThreadingHTTPServer:
    """The provider on a free port, with nothing remembered."""
    Provider.keys.clear()
    Provider.go_on.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
