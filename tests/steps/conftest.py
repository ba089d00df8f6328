"""A small project in the current folder, and rollouts on it; its gateway is ended at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from model_provider import serve_provider
from rollouts import Rollouts
from small_project import Project, make_project

from orchestration.platforms.local.admin_socket import admin_socket
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import stop_all


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = make_project(tmp_path / "project")
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("HOME", str(made.root / "home"))
    return made


@pytest.fixture
def rollouts(project: Project) -> Iterator[Rollouts]:
    yield Rollouts(project)
    stop_all(project.state)
    sockets = admin_socket(EndpointFolder.of(project.state, "any").path).parent
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
