"""Answers in pieces, and servers that misbehave: the runtime is a script that speaks the serving protocol its own way."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx
import pytest
from local_endpoints import Local, eventually, until_settled

from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.local.folder import EndpointFolder

pytestmark = pytest.mark.real
SERVER = """#!PYTHON
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

read, write = (int(sys.argv[sys.argv.index(o) + 1]) for o in ("--in", "--out"))
commands = os.fdopen(read, "rb")
opening = json.loads(commands.readline())

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers(); self.wfile.write(b"{}")
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(asked["pieces"]):
            text = f"data: {number}\\n\\n".encode()
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(text), text)); self.wfile.flush()
            if number == asked.get("die_after"): os._exit(1)
            time.sleep(asked.get("pause", 0))
        self.wfile.write(b"0\\r\\n\\r\\n")

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
import threading
threading.Thread(target=server.serve_forever, daemon=True).start()
os.write(write, (json.dumps({"type": "serving", "port": server.server_address[1], "inputs": {}, "outputs": {}}) + "\\n").encode())
commands.read()
while opening["flow"].endswith("stubborn"): time.sleep(1)
os._exit(0)
"""


@pytest.fixture
def streaming(local: Local) -> Local:
    local.runtime = local.folder / "server"
    local.runtime.write_text(SERVER.replace("PYTHON", sys.executable))
    local.runtime.chmod(0o755)
    return local


def stream(local: Local, body: dict[str, object]) -> tuple[list[float], bytes]:
    platform = local.platform()
    key = EndpointFolder.of(local.state, "shout-local").key()
    moments, data = [], b""
    headers = {"Authorization": f"Bearer {key}", "azureml-model-deployment": "blue"}
    with httpx.stream("POST", platform.url("shout-local"), json=body, headers=headers, trust_env=False) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["azureml-model-deployment"] == "blue"
        for piece in answer.iter_raw():
            moments.append(time.monotonic())
            data += piece
    return moments, data


def test_pieces_arrive_as_they_are_made(streaming: Local) -> None:
    streaming.deployed("blue")
    moments, data = stream(streaming, {"pieces": 4, "pause": 0.2})
    assert data == b"data: 0\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\n"
    assert moments[-1] - moments[0] > 0.4


def test_an_answer_that_breaks_off_does_not_look_whole(streaming: Local) -> None:
    platform = streaming.deployed("blue")
    since = time.time()
    with pytest.raises(httpx.RemoteProtocolError):
        stream(streaming, {"pieces": 4, "die_after": 1})
    eventually(lambda: platform.load("shout-local", "blue", since=since).errors == 1)
    assert until_settled(platform, "blue").state == "Succeeded"


def test_a_server_that_will_not_end_is_killed(streaming: Local) -> None:
    streaming.limits = type(streaming.limits)(end_seconds=0.3)
    platform = streaming.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(streaming.deployment("stubborn"))
    until_settled(platform, "stubborn")
    platform.delete(OnlineDeployment.kind, "stubborn", endpoint="shout-local")
    eventually(lambda: platform.get(OnlineDeployment.kind, "stubborn", endpoint="shout-local") is None)


def test_a_runtime_that_talks_nonsense_fails_the_deployment(local: Local) -> None:
    local.runtime = local.folder / "server"
    local.runtime.write_text(f"#!{sys.executable}\nimport os, sys\nos.write(int(sys.argv[-1]), b'hello\\n')\n")
    Path(local.runtime).chmod(0o755)
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("blue"))
    found = until_settled(platform, "blue")
    assert found.state == "Failed"
