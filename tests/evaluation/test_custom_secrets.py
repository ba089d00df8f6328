"""What user code was given in confidence comes back neither in answers and errors nor in any file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_workspace import MAPPING, Workspace

from orchestration.evaluation.engine import evaluate, run_row
from orchestration.evaluation.job import EvaluationJob
from orchestration.model_proxy import Upstream

SECRET = 'canary "7f3b"/9e1d=5a2c'
KEY = "model-key-4c1f"
LEAKY = """
    import os, sys
    def run(text: str, connections):
        secret = connections["db"]["secrets"]["password"]
        print("printed", secret, {"password": secret})
        print("half of a line", secret, end="", file=sys.stderr)
        if text == "t1":
            raise ValueError(f"no access with {secret}")
        if text == "t2":
            sys.stderr.write(secret)
            os._exit(3)
        return {"answer": [f"used {secret}", {secret: [secret]}]}
"""
GRADE = """
    def run(answer, truth, connections):
        secret = connections["db"]["secrets"]["password"]
        if truth == "T3":
            raise ValueError(secret)
        return {"grade": [secret, answer]}

    def aggregate(inputs, outputs):
        return {"first": outputs["grade"][0]}
"""


@pytest.fixture
def job(workspace: Workspace) -> EvaluationJob:
    connections = {"db": {"type": "custom", "values": {"user": "me"}, "secrets": {"password": SECRET}}}
    job = workspace.job(LEAKY, rows=4, connections=connections)
    return replace(job, evaluator=workspace.subject("evaluator", GRADE, outputs=["grade"], mapping=MAPPING))


def files_with(folder: Path, secret: str) -> list[str]:
    needles = [form.encode() for form in (secret, secret.replace('"', '\\"'))]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(needle in path.read_bytes() for needle in needles)]


def test_a_secret_is_in_no_answer_no_error_and_no_file(workspace: Workspace, job: EvaluationJob):
    evaluation = evaluate(job)
    answer = ["used [redacted]", {"[redacted]": ["[redacted]"]}]
    assert evaluation.rows[0].result.output == {"answer": answer}
    assert evaluation.rows[0].grades == {"grade": ["[redacted]", answer]}
    assert evaluation.rows[1].result.error.message == "ValueError: no access with [redacted]"
    assert evaluation.rows[2].result.error.code == "Crashed"
    assert evaluation.rows[3].grade_error.message == "ValueError: [redacted]"
    assert evaluation.logged == {"first": ["[redacted]", answer]}
    assert SECRET not in repr(evaluation)
    assert files_with(workspace.folder, SECRET) == []
    assert "printed [redacted]" in workspace.log()
    assert evaluate(job).cached == 2  # the stored answers are those that were graded
    (workspace.folder / "planted").write_text(SECRET)
    assert files_with(workspace.folder, SECRET) == ["planted"]


def test_a_secret_is_in_no_trace_of_a_row(workspace: Workspace, job: EvaluationJob):
    for text in ("t0", "t1"):
        result = run_row(job, {"text": text})
        assert len(result.nodes) == 1
        assert SECRET not in repr(result)
    assert files_with(workspace.folder, SECRET) == []
    assert "printed [redacted]" in workspace.log("test")


def test_a_key_that_a_provider_repeats_is_taken_out(workspace: Workspace):
    repeating = f"def run(text: str):\n    print({KEY!r})\n    raise OSError('401: wrong key ' + {KEY!r})"
    upstream = Upstream("openai", "http://127.0.0.1:9", api_key=KEY)
    connections = {"aoai": {"type": "llm", "model": None}}
    job = workspace.job(repeating, rows=1, connections=connections, upstreams={"aoai": upstream})
    assert evaluate(job).rows[0].result.error.message == "OSError: 401: wrong key [redacted]"
    assert workspace.log() == "[redacted]\n"


@pytest.mark.parametrize("secret", ["result", "completed", "answer", "prompt", "message"])
def test_a_secret_that_is_a_word_of_the_protocol_ends_nothing(workspace: Workspace, secret: str):
    connections = {"db": {"type": "custom", "values": {}, "secrets": {"word": secret}}}
    evaluation = evaluate(workspace.job(rows=3, outputs=[], connections=connections, row_timeout_seconds=5))
    assert evaluation.completed == 3
