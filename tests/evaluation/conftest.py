"""The workspace of the engine's tests, with the promise that no process outlives a test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from evaluation_workspace import Workspace, runners_of


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A workspace; no process of its flows may outlive the test."""
    yield Workspace(tmp_path)
    end = time.monotonic() + 5  # a killed process takes a moment to be gone
    while (left := runners_of(tmp_path)) and time.monotonic() < end:
        time.sleep(0.05)
    for process in left:
        process.kill()
    assert left == []
