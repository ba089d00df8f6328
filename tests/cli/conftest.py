"""A small project in the current folder, and the command line called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_project import Project, make_project

from orchestration.cli.main import main


@dataclass
class Answered:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        return json.loads(lines[0])


Sluice = Callable[..., Answered]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A fresh project as the current folder, without anything of the user's environment."""
    made = make_project(tmp_path / "project")
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("HOME", str(made.root / "home"))
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_HOME", "AOAI_API_KEY", "AOAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def sluice(capfd: pytest.CaptureFixture[str]) -> Sluice:
    """`sluice("plan", "tiny")`: the command in this process."""

    def call(*arguments: str) -> Answered:
        capfd.readouterr()
        code = main(list(arguments))
        printed = capfd.readouterr()
        return Answered(code, printed.out, printed.err)

    return call
