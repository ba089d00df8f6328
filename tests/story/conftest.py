"""A small project of its own for each story; its processes are ended at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_project import Project, make_project


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A fresh project; all its processes are ended at the end."""
    made = make_project(tmp_path / "project")
    yield made
    done = made.sluice("down")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One project for a module whose tests tell a story in order."""
    made = make_project(tmp_path_factory.mktemp("story") / "project")
    yield made
    done = made.sluice("down")
    assert done.returncode == 0, done.stderr
