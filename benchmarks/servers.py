"""The servers that are measured: ours alone, ours behind its gateway, and promptflow's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.commands import ROOT, Arguments, background, clean_environment
from benchmarks.harness import Incomplete
from benchmarks.prompt_flows import CONNECTION, promptflow_runtime
from benchmarks.promptflow_anchor import ANCHORS, promptflow_environment
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.local.launch import stop_all
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.platform import LocalPlatform
from orchestration.polling import every, wait_until
from orchestration.values import Binding, Candidate, ModelVersion

START_SECONDS = 60.0
TOKEN = "benchmark"
ENDPOINT, DEPLOYMENT = "bench-local", "blue"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a prompt flow is served, and the headers that its callers need."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


def serving_runtime() -> Path:
    """The default runtime and uvicorn, which `pf flow serve` needs; both sides run in it."""
    lock = (ROOT / "requirements" / "orchestrator.txt").read_text()
    found = re.search(r"^uvicorn==.*(?:\n    --hash=.*)+", lock, re.MULTILINE)
    assert found is not None
    return promptflow_runtime(f"\n{found.group()}\n")


@contextmanager
def our_server(folder: Path, flow: Path, runtime: Path, model_url: str | None) -> Iterator[Address]:
    """One online deployment's server, started as the gateway starts it."""
    folder.mkdir()
    (their_read, our_write), (our_read, their_write) = os.pipe(), os.pipe()
    argv: Arguments = [runtime, "-m", "sluice_runner", "serve", "--in", str(their_read), "--out", str(their_write)]
    fds, environment = (their_read, their_write), clean_environment(folder)
    with (
        os.fdopen(our_write, "wb", 0) as pipe,
        os.fdopen(our_read, "rb") as answers,
        background(argv, cwd=folder, environment=environment, log=folder / "log", pass_fds=fds),
    ):
        for fd in fds:
            os.close(fd)
        pipe.write(json.dumps(_opening(flow, model_url)).encode() + b"\n")
        said = json.loads(answers.readline())
        if said["type"] != "serving":
            raise Incomplete(f"our server did not start: {said}")
        yield Address(f"http://127.0.0.1:{said['port']}/score", {"x-sluice-token": TOKEN})


def _opening(flow: Path, model_url: str | None) -> dict[str, object]:
    connection = {"type": "llm", "base_url": model_url, "api_key": "none", "model": None}
    return {
        "type": "open",
        "protocol": 1,
        "flow": str(flow),
        "variant": None,
        "overrides": {},
        "trace": False,
        "connections": {CONNECTION: connection} if model_url else {},
        "concurrency": Limits().concurrency,
        "token": TOKEN,
        "name": DEPLOYMENT,
    }


@contextmanager
def promptflow_server(folder: Path, flow: Path, runtime: Path, model_url: str | None) -> Iterator[Address]:
    """`pf flow serve --engine fastapi`."""
    environment = promptflow_environment(folder)
    if model_url:
        command: Arguments = [runtime, ANCHORS / "connection.py", f"{model_url}/v1"]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    port = str(_free_port())
    where = ["--host", "127.0.0.1", "--port", port, "--skip-open-browser"]
    argv: Arguments = [runtime.with_name("pf"), "flow", "serve", "--source", flow, "--engine", "fastapi", *where]
    with background(argv, cwd=folder, environment=environment, log=folder / "log") as process:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield Address(f"http://127.0.0.1:{port}/score")


@contextmanager
def local_endpoint(folder: Path, flow: Path, runtime: Path) -> Iterator[Address]:
    """A local endpoint with one online deployment: its gateway is what is called."""
    model = ModelVersion("bench", "1", "c" * 64, "decision", str(flow))
    platform = LocalPlatform(folder, upstreams=lambda _: {}, models=_Folders())
    try:
        platform.create(Endpoint(ENDPOINT, {"sluice": "1"}))
        binding = Binding("local", {}, "b" * 64)
        platform.create(OnlineDeployment(DEPLOYMENT, ENDPOINT, model, binding, runtime, tags={"sluice": "1"}))
        wait_until(lambda: _settled(platform), what="the endpoint", timeout_seconds=START_SECONDS, wait=every(0.1))
        platform.set_traffic(ENDPOINT, {DEPLOYMENT: 100}, generation=platform.traffic(ENDPOINT).generation)
        key = (folder / "endpoints" / ENDPOINT / "key").read_text()
        yield Address(platform.url(ENDPOINT), {"Authorization": f"Bearer {key}"})
    finally:
        stop_all(folder, limits=Limits(drain_seconds=1, end_seconds=2))


class _Folders:
    """A registry whose model versions are plain folders."""

    def find_model(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        raise NotImplementedError(f"{prompt_flow} {content_hash}")

    def register_model(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        raise NotImplementedError(f"{candidate} {decision} {tags}")

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        raise NotImplementedError(f"{model} {alias}")

    def folder(self, model: ModelVersion) -> Path:
        return Path(model.uri)

    def verify(self, model: ModelVersion) -> None:
        assert self.folder(model).is_dir()


def _settled(platform: LocalPlatform) -> bool | None:
    found = platform.get(OnlineDeployment.kind, DEPLOYMENT, endpoint=ENDPOINT)
    if found is not None and found.state == "Failed":
        raise Incomplete(f"the online deployment failed: {found.message}")
    return True if found is not None and found.state == "Succeeded" else None


def _wait(url: str, process: subprocess.Popen[str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise Incomplete(f"nobody answers at {url}: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
