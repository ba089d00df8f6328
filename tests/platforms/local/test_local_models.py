"""Deployments with a model behind them, and from the real registry."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
from local_endpoints import Local, eventually, until_settled

from orchestration.errors import ConfigurationError
from orchestration.model_proxy import Upstream
from orchestration.platforms.base import Endpoint
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway
from orchestration.platforms.local.platform import LocalPlatform

pytestmark = pytest.mark.real
KEY = "canary-key-91d2c7"
SOURCE = """
import json, urllib.request
def answer(text: str, connections):
    model = connections["aoai"]
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + model["api_key"]}
    request = urllib.request.Request(model["base_url"] + "/v1/chat/completions", body, headers)
    said = json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"]
    return {"label": said, "by": "VERSION", "key": model["api_key"]}
"""


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    keys: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.keys.append(self.headers["Authorization"])
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = f"{asked['model']}: {asked['messages'][0]['content']}"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {
            "id": "1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}}],
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


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Provider.keys.clear()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def deploy(local: Local) -> LocalPlatform:
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("blue", source=SOURCE))
    found = until_settled(platform, "blue")
    assert found.state == "Succeeded", found
    return platform


def kill_gateway(local: Local) -> list[psutil.Process]:
    """Kill the gateway and return what descended from it."""
    daemon = live_gateway(EndpointFolder.of(local.state, "shout-local"))
    assert daemon is not None
    family = psutil.Process(daemon.pid).children(recursive=True)
    os.kill(daemon.pid, signal.SIGKILL)
    return family


def test_the_key_of_a_model_goes_to_its_provider_and_nowhere_else(local: Local, provider: str) -> None:
    local.connections = {"aoai": Upstream("openai", provider, deployment="gpt-x", api_key=KEY)}
    platform = deploy(local)
    body = platform.invoke("shout-local", {"text": "hi"}, deployment="blue").body
    assert body["label"] == "gpt-x: hi"
    assert Provider.keys == [f"Bearer {KEY}"]
    assert KEY not in body["key"]
    for process in kill_gateway(local):
        eventually(lambda p=process: not p.is_running() or p.status() == psutil.STATUS_ZOMBIE)
    assert local.platform().start_all() == []
    until_settled(platform, "blue")
    assert platform.invoke("shout-local", {"text": "ho"}, deployment="blue").body["label"] == "gpt-x: ho"
    files = [f for f in local.state.rglob("*") if f.is_file()]
    assert not [f for f in files if KEY.encode() in f.read_bytes()]


def test_the_embedded_model_ends_with_its_gateway(local: Local) -> None:
    local.connections = {"aoai": Upstream("offline")}
    platform = deploy(local)
    assert platform.invoke("shout-local", {"text": "hi"}, deployment="blue").status == 200
    for process in kill_gateway(local):
        eventually(lambda p=process: not p.is_running() or p.status() == psutil.STATUS_ZOMBIE)


def test_a_connection_that_signs_in_as_a_person_is_refused(local: Local) -> None:
    async def authorize() -> dict[str, str]:
        return {}

    local.connections = {"aoai": Upstream("openai", "http://127.0.0.1:9/v1", authorize=authorize)}
    with pytest.raises(ConfigurationError, match="aoai"):
        deploy(local)


def test_reading_and_calling_do_not_load_the_registry(local: Local) -> None:
    local.deployed("blue", weights={"blue": 100})
    source = f"""
import sys
from pathlib import Path
from typing import ClassVar
from orchestration.platforms.local.platform import LocalPlatform
platform = LocalPlatform(Path({str(local.state)!r}), upstreams=lambda _: {{}})
assert platform.traffic("shout-local").weights == {{"blue": 100}}
assert platform.invoke("shout-local", {{"text": "a"}}).status == 200
heavy = {{"mlflow", "prefect", "pandas", "sqlalchemy"}} & set(sys.modules)
assert not heavy, heavy
"""
    import subprocess

    subprocess.run([sys.executable, "-c", source], check=True, cwd=Path(__file__).resolve().parents[3])
