"""Secrets pass through memory only."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest
from local_endpoints import APP, Local, eventually, until_settled

from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway

pytestmark = pytest.mark.real
SECRET = "canary-5f0c8e77d1"
SOURCE = (
    APP
    + "\nimport sys\nprint('at import', sys.argv)\ndef answer(do: str = '', connections={}):\n"
    + (
        "    if do == 'print':\n        print('the key is', connections['search']['secrets']['key'], flush=True)\n"
        "    if do == 'raise':\n        raise ValueError('bad key ' + connections['search']['secrets']['key'])\n"
        "    return {'label': str(dict(os.environ)), 'by': 'VERSION', 'pid': os.getpid()}\n"
    )
)


def holding(folder: Path, secret: str) -> list[Path]:
    return [f for f in folder.rglob("*") if f.is_file() and secret.encode() in f.read_bytes()]


@pytest.fixture
def deployed(local: Local, monkeypatch: pytest.MonkeyPatch) -> Local:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", SECRET)
    local.connections = {"search": {"type": "custom", "values": {}, "secrets": {"key": SECRET}}}
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("blue", source=SOURCE))
    assert until_settled(platform, "blue").state == "Succeeded"
    return local


def test_no_secret_is_on_disk_in_arguments_or_in_environments(deployed: Local) -> None:
    platform = deployed.platform()
    server = platform.invoke("shout-local", {}, deployment="blue").body
    assert SECRET not in server["label"]
    gateway = live_gateway(EndpointFolder.of(deployed.state, "shout-local"))
    assert gateway is not None
    for pid in (gateway.pid, server["pid"]):
        process = psutil.Process(pid)
        assert SECRET not in " ".join(process.cmdline())
        assert SECRET not in json.dumps(process.environ())
        assert not any(name.startswith("PREFECT") for name in process.environ())
    assert holding(deployed.state, SECRET) == []


def test_a_web_proxys_password_reaches_the_gateway_but_not_its_servers(local: Local, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    platform = local.deployed("blue")
    answer = platform.invoke("shout-local", {"text": "a", "do": "environment"}, deployment="blue").body["label"]
    assert "HTTPS_PROXY" not in answer
    assert answer["HTTP_PROXY"] == "http://proxy.example:3128"
    assert "127.0.0.1" in answer["NO_PROXY"]
    gateway = live_gateway(EndpointFolder.of(local.state, "shout-local"))
    assert gateway is not None
    assert SECRET in psutil.Process(gateway.pid).environ()["HTTPS_PROXY"]  # its model proxy calls the provider
    for child in psutil.Process(gateway.pid).children(recursive=True):
        assert SECRET not in json.dumps(child.environ())


def test_what_user_code_prints_of_its_secrets_is_redacted(deployed: Local) -> None:
    platform = deployed.platform()
    for do in ("print", "raise"):
        answer = platform.invoke("shout-local", {"do": do}, deployment="blue")
    assert answer.body["error"]["message"] == "ValueError: bad key [redacted]"

    def logs() -> str:
        return platform.logs(OnlineDeployment.kind, "blue", endpoint="shout-local")

    eventually(lambda: "bad key" in logs())
    assert "the key is [redacted]" in logs()
    assert holding(deployed.state, SECRET) == []


def test_the_key_of_the_endpoint_is_in_one_private_file(deployed: Local) -> None:
    folder = EndpointFolder.of(deployed.state, "shout-local")
    deployed.platform().invoke("shout-local", {}, deployment="blue")
    file = folder.path / "key"
    assert holding(deployed.state, folder.key()) == [file]
    assert file.stat().st_mode & 0o077 == 0
    assert len(folder.key()) >= 32


def test_nobody_else_may_look_into_the_folder_or_reach_the_socket(deployed: Local) -> None:
    folder = EndpointFolder.of(deployed.state, "shout-local")
    socket = Path(folder.load().socket)
    assert folder.path.stat().st_mode & 0o077 == 0
    assert socket.parent.stat().st_mode & 0o077 == 0
    assert socket.parent.stat().st_uid == os.getuid()


def test_a_servers_own_port_needs_its_token(deployed: Local) -> None:
    import httpx

    pid = deployed.platform().invoke("shout-local", {}, deployment="blue").body["pid"]
    port = next(c.laddr.port for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN)
    for token in ({}, {"x-sluice-token": "wrong"}):
        assert httpx.post(f"http://127.0.0.1:{port}/score", json={}, headers=token).status_code == 401
