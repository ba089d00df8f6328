from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from orchestration.candidates import take_candidate

REPOSITORY = Path(__file__).parents[2]
FILES = {
    "config/base.yaml": "connections: {aoai: {kind: offline}}\n",
    "flows/demo/sluice.yaml": """\
key: id
slices: [kind]
metrics:
  accuracy:
    column: grade
gate:
  rules:
    - metric: accuracy
      above: 0.6
    - metric: p95_seconds
      max: 20
sample:
  inputs: {text: a}
  answer: {}
""",
    "flows/demo/run.yml": """\
flow: .
data: data.jsonl
column_mapping:
  text: ${data.text}
""",
    "flows/demo/run_evaluation.yml": """\
flow: evaluator
column_mapping:
  expected: ${data.expected}
  answer: ${run.outputs.answer}
""",
    "flows/demo/data.jsonl": '{"id": "a", "text": "x", "expected": 1, "kind": "k"}\n'
    '{"id": "b", "text": "y", "expected": 2, "kind": "k"}\n',
    "flows/demo/callable.toml": 'entry = "main:answer"\n',
    "flows/demo/main.py": "def answer(text):\n    return {'answer': text}\n",
    "flows/demo/evaluator/callable.toml": 'entry = "grade:grade"\n',
    "flows/demo/evaluator/grade.py": "def grade(expected, answer):\n    return {'grade': expected == answer}\n",
    "deployments/demo/deployment.yaml": "instance_count: 1\n",
    "flows/other/sluice.yaml": "gate: {}\nsample: {inputs: {}, answer: {}}\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one prompt flow, `demo`, of the plain callable kind."""
    root = tmp_path / "project"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "runtime").mkdir()
    shutil.copy(REPOSITORY / "runtime" / "frameworks.toml", root / "runtime")
    (root / "requirements").mkdir()
    (root / "requirements" / "promptflow.txt").write_text("idna==3.10 --hash=sha256:" + "0" * 64 + "\n")
    return root


@pytest.fixture
def take(project: Path):
    """Take the candidate of `demo`."""
    return lambda **more: take_candidate(project, project / ".sluice", "demo", **more)


@pytest.fixture
def git(project: Path):
    """The project as a git repository with one commit; call it with arguments for git."""

    def run(*argv: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(
            ["git", *who, *argv], cwd=project, capture_output=True, text=True, check=True
        ).stdout.strip()

    run("init", "--quiet")
    (project / ".gitignore").write_text(".sluice/\n*.secret\n")
    run("add", ".")
    run("commit", "--quiet", "-m", "first")
    return run
