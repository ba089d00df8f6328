"""Fixtures: a runtime for callables, and a local platform whose processes are ended afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_endpoints import Local
from model_provider import serve_provider

from orchestration.platforms.local.admin_socket import admin_socket
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import stop_all
from orchestration.platforms.local.limits import Limits

ROOT = Path(__file__).resolve().parents[3]
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="session")
def serving_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a runtime without any framework."""
    folder = tmp_path_factory.mktemp("runtime") / "venv"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    install = [UV, "pip", "install", "--quiet", "--no-deps", "--python", python, "--compile-bytecode", ROOT / "runtime"]
    subprocess.run(install, check=True)
    return python


@pytest.fixture
def local(tmp_path: Path, serving_python: Path) -> Iterator[Local]:
    """A local platform's surroundings; whatever runs below it is ended afterwards."""
    surroundings = Local(tmp_path, serving_python)
    yield surroundings
    stop_all(surroundings.state, limits=Limits(drain_seconds=0.5, end_seconds=0.5))
    sockets = admin_socket(EndpointFolder.of(surroundings.state, "any").path).parent
    for left in sockets.iterdir():  # by gateways that were killed
        left.unlink()
    sockets.rmdir()


@pytest.fixture
def provider() -> Iterator[str]:
    """The address of a model provider on this machine; see `model_provider.Provider`."""
    server = serve_provider()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
