"""Parts of `.sluice` that were removed or written over by hand, one after the other, on one released project."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from small_project import Project, make_project

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
SLOW = """
import time
from pathlib import Path

def answer(question: str) -> dict:
    Path({flag!r}).touch()
    time.sleep(0.5)
    return {{"answer": question.upper()}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose prompt flow is released."""
    made = make_project(tmp_path_factory.mktemp("lost") / "project")
    assert made.run()["outcome"] == "released"
    yield made
    made.sluice("down")
    assert left(made) == []


def left(project: Project) -> list[psutil.Process]:
    """Every process that names the project."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join(process.cmdline()) + " " + process.cwd()
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if str(project.root) in told:
            found.append(process)
    return found


def mlflow(project: Project) -> Path:
    return project.state / "mlflow"


def document(project: Project, release: dict) -> Path:
    return next(p for p in mlflow(project).rglob("decision.json") if release["decision"][:8] in said(p))


def said(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def lose_all(project: Project) -> None:
    shutil.rmtree(mlflow(project))


def lose_the_database(project: Project) -> None:
    (mlflow(project) / "mlflow.db").unlink()


def lose_the_documents(project: Project) -> None:
    for path in mlflow(project).rglob("decision.json"):
        path.unlink()


def change_the_documents(project: Project) -> None:
    for path in mlflow(project).rglob("decision.json"):
        path.write_bytes(path.read_bytes() + b" ")


def lose_the_models(project: Project) -> None:
    shutil.rmtree(mlflow(project) / "artifacts" / "models")


@pytest.mark.parametrize(
    "lose", [lose_all, lose_the_database, lose_the_documents, change_the_documents, lose_the_models]
)
def test_what_serves_without_a_record_is_recorded_and_registered_again(project: Project, lose) -> None:
    before = project.run()
    assert before["outcome"] == "unchanged"
    lose(project)
    plan = project.json("plan", "tiny")
    assert not plan["endpoint"]["serves_this"]

    release = project.run()

    assert release["outcome"] == "released"
    assert release["endpoint"] == before["endpoint"]
    assert release["model"]["version"] == "1"
    assert document(project, release)
    assert project.json("plan", "tiny")["endpoint"]["serves_this"]
    assert project.run()["outcome"] == "unchanged"
    assert project.json("invoke", "tiny")["answer"] == {"answer": "HELLO"}


def refused(project: Project, *arguments: str) -> dict:
    done = project.sluice(*arguments, "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)["error"]


def test_garbage_instead_of_mlflows_database_is_named_and_nothing_is_lost(project: Project) -> None:
    database, kept = mlflow(project) / "mlflow.db", project.root / "kept.db"
    shutil.move(database, kept)
    database.write_bytes(b"garbage" * 1000)
    error = refused(project, "run", "tiny")
    assert str(database) in error["message"]
    assert "move it away" in error["cure"]
    shutil.move(kept, database)
    assert project.run()["outcome"] == "unchanged"


def test_garbage_instead_of_rows_costs_only_time(project: Project) -> None:
    project.state.joinpath("rows.sqlite").write_bytes(b"garbage" * 1000)
    assert project.json("plan", "tiny")["rows"]["flow"]["missing"] == 8
    release = project.run()
    assert (release["outcome"], release["rows"]["cached"]) == ("unchanged", 0) or release["outcome"] == "released"
    assert len(list(project.state.glob("rows.sqlite.unreadable-*"))) == 1
    assert project.run()["rows"]["cached"] == 8


def test_a_server_whose_record_was_lost_is_used_again(project: Project) -> None:
    record = project.state / "prefect" / "prefect-server.json"
    record.write_text("{")
    assert project.json("status")["services"]["prefect-server"] is True
    assert project.run()["outcome"] == "unchanged"
    record.unlink()
    assert "prefect-server" in project.json("down")["ended"]
    assert left(project) == []


def test_garbage_instead_of_prefects_database_is_named(project: Project) -> None:
    project.sluice("down")
    database, kept = project.state / "prefect" / "prefect.db", project.root / "kept.db"
    shutil.move(database, kept)
    database.write_bytes(b"garbage" * 1000)
    error = refused(project, "run", "tiny")
    assert "prefect/prefect.db" in error["message"]
    assert "Move it away" in error["cure"]
    shutil.move(kept, database)
    assert project.run()["outcome"] == "unchanged"


def test_a_server_that_is_lost_in_mid_run_ends_the_run_soon_and_in_one_line(project: Project) -> None:
    flag = project.root / "running"
    project.flow.joinpath("tiny.py").write_text(SLOW.format(flag=str(flag)))
    run = project.popen("run", "tiny", "--json")
    while not flag.exists():
        time.sleep(0.05)
        assert run.poll() is None
    os.kill(json.loads((project.state / "prefect" / "prefect-server.json").read_text())["pid"], signal.SIGKILL)
    began = time.monotonic()
    out, err = run.communicate(timeout=280)
    assert time.monotonic() - began < 180  # by Prefect's own patience it would be five minutes
    assert run.returncode == 1, err
    assert "The Prefect server was lost in mid-run" in json.loads(out)["error"]["message"]
    complaints = [line for line in err.splitlines() if "| INFO " not in line and not line.startswith("Starting")]
    assert len(complaints) == 1, err

    release = project.run()

    assert release["outcome"] == "released"
    assert release["rows"]["cached"] >= 1
