"""Fixtures: an emulated cloud that the process's environment leads to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_clients import lead_to
from azure_emulator import Cloud, emulator
from azure_emulator.azurite import unavailable
from release_project import ReleaseProject, release_project


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An emulated cloud of its own on a virtual clock; unchanged clients made in the test reach it, and only it.

    Afterwards nothing may have been refused, unknown or crashed: a test that provokes such a thing clears the list.
    """
    with emulator() as running:
        lead_to(running, monkeypatch)
        yield running
    assert (running.refused, running.unknown, running.crashes) == ([], [], [])


@pytest.fixture
def project(cloud: Cloud, tmp_path: Path) -> ReleaseProject:
    """A project that releases to a workspace of the emulated cloud."""
    return release_project(tmp_path / "project", cloud)


@pytest.fixture
def blobs() -> None:
    """Skips a test that needs blob storage where that can't be had."""
    if reason := unavailable():
        pytest.skip(reason)
