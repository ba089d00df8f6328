"""Fixture: one run's evaluation on the emulated cloud."""

from __future__ import annotations

import pytest
from compute_world import Run
from release_project import ReleaseProject


@pytest.fixture
def run(project: ReleaseProject) -> Run:
    return Run(project)
