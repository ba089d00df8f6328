"""Which stored answers an evaluation takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_project import REPOSITORY, make_project


@pytest.mark.real
def test_another_runner_runs_every_row_again(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project.root / "runtime").unlink()
    shutil.copytree(REPOSITORY / "runtime", project.root / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    (project.root / "config" / "local.yaml").write_text("runtimes_folder: .sluice/runtimes\n")
    assert project.json("evaluate", "tiny")["rows"]["cached"] == 0
    assert project.json("evaluate", "tiny")["rows"]["cached"] == 8
    with (project.root / "runtime" / "sluice_runner" / "usage.py").open("a") as source:
        source.write("# another runner\n")
    assert project.json("plan", "tiny")["rows"]["flow"]["stored"] == 0
    assert project.json("evaluate", "tiny")["rows"]["cached"] == 0
