"""Deployments with a model behind them, and from the real registry."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from local_endpoints import Local, eventually, until_settled
from model_provider import KEY, SOURCE, Provider

from orchestration.errors import ConfigurationError
from orchestration.model_proxy import Upstream
from orchestration.platforms.base import Endpoint
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway
from orchestration.platforms.local.platform import LocalPlatform

pytestmark = pytest.mark.real


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
