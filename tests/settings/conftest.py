from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.settings import Settings, load_settings

BASE = """\
default_prompt_flow: demo
connections:
  aoai:
    kind: offline
rollout:
  steps: [10, 50, 100]
"""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with the files is found without asking anybody."""

    def refuse(*arguments: object, **more: object) -> None:
        raise AssertionError(f"a network call: {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with the environments dev and prod."""
    config = tmp_path / "config"
    config.mkdir()
    (config / "base.yaml").write_text(BASE)
    (config / "dev.yaml").write_text("evaluation:\n  in_flight: 8\n")
    (config / "prod.yaml").write_text("allow_dirty: false\n")
    return tmp_path


@pytest.fixture
def settings_of(root: Path) -> Callable[..., Settings]:
    """Settings of dev with this text as config/dev.yaml."""

    def load(text: str = "", **more: Any) -> Settings:
        (root / "config" / "dev.yaml").write_text(text)
        return load_settings(root, "dev", **more)

    return load
