"""What user code was given in confidence, and what it says, on its way through a whole run: in no file, not in Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_project import Project, make_project, write

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
SECRET = "canary/7f3b+9e1d=5a2c"
WORDS = "private-words-of-row"  # in no source file: put together when the row raises

LEAKY = """
import sys

def answer(question: str, connections) -> dict:
    secret = connections["db"]["secrets"]["password"]
    print("printed", secret)
    print(connections, file=sys.stderr)
    if question == "word1":
        raise ValueError("-".join(["private", "words", "of", "row"]) + f" and {secret}")
    return {"answer": [question.upper(), secret, {secret: connections}]}
"""
GRADE = """
def grade(answer, truth: str, connections) -> dict:
    return {"right": float(answer[0] == truth), "said": [answer, connections]}

def aggregate(inputs, outputs):
    return {"accuracy": 1.0, "said": outputs["said"][0]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = make_project(tmp_path / "project")
    yield made
    done = made.sluice("down")
    assert done.returncode == 0, done.stderr


def files_with(root: Path, text: str) -> list[str]:
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return sorted(str(path.relative_to(root)) for path in files if text.encode() in path.read_bytes())


def test_a_secret_of_a_custom_connection_and_a_message_of_user_code(project: Project) -> None:
    write(project.flow / "tiny.py", LEAKY)
    write(project.root / "flows/tiny_evaluation/grading.py", GRADE)
    spec = project.flow / "sluice.yaml"
    spec.write_text(spec.read_text().replace("connections: []", "connections: [db]"))
    with (project.root / "config" / "base.yaml").open("a") as config:
        config.write(
            "connections:\n  db: {kind: custom, values: {user: me}, secrets: {password: {env: DB_PASSWORD}}}\n"
        )
    (project.root / ".env").write_text(f"DB_PASSWORD={SECRET}\n")

    done = project.sluice("run", "tiny")

    assert done.returncode == 4, done.stdout + done.stderr[-3000:]
    assert f"row r1: Raised: ValueError: {WORDS} and [redacted] (flows/tiny/tiny.py:" in done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert files_with(project.root, SECRET) == [".env"]
    assert files_with(project.root, WORDS) == []
    assert "printed [redacted]" in (project.state / "logs" / "flow.log").read_text()
    assert list((project.state / "prefect").rglob("*.db"))
    (project.state / "planted").write_text(SECRET)  # the scan would have found it
    assert files_with(project.root, SECRET) == [".env", ".sluice/planted"]
