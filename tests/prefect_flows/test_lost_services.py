"""Services that are started twice, killed, and left without records: `sluice down` ends all of it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_project import Project, make_project

from orchestration import processes

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = make_project(tmp_path / "project")
    yield made
    made.sluice("down")
    assert running(made) == {}


def running(project: Project) -> dict[str, processes.Daemon]:
    """The long-lived processes of the project as the system knows them; none twice."""
    found = processes.left(project.state)
    assert len({daemon.name for _, daemon in found}) == len(found), found
    return {daemon.name: daemon for _, daemon in found}


def test_two_that_start_everything_at_once_start_it_once(project: Project) -> None:
    both = [project.popen("up", "--json") for _ in range(2)]
    answers = [each.communicate(timeout=250) for each in both]
    assert [each.returncode for each in both] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert set(running(project)) == {"prefect-server", "prefect-worker", "mlflow-ui"}


def test_what_has_lost_its_records_is_found_used_and_ended(project: Project) -> None:
    first = project.json("up")
    before = running(project)
    for record in (*project.state.glob("services/*.json"), *project.state.glob("prefect/*.json")):
        record.write_text("{")
    assert set(project.json("status")["services"].values()) == {True}
    assert project.json("up") == first
    assert running(project) == before
    os.kill(before["mlflow-ui"].pid, signal.SIGKILL)  # its own server process lives on
    for record in project.state.glob("services/*"):
        record.unlink()
    shutil.rmtree(project.state / "services")
    project.json("down")
    assert running(project) == {}
    assert not any(processes.alive(daemon) for daemon in before.values())
