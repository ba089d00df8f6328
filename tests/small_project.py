"""A small project for tests: a callable prompt flow that answers at once, the real everything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SLUICE = Path(sys.executable).parent / "sluice"

FLOW = """
import os, time
from pathlib import Path

def answer(question: str, behave: str = "") -> dict:
    calls = Path(__file__).parent.parent / "calls"   # beside the snapshot or the model: harmless, for counting by hand
    if behave == "raise":
        raise ValueError(f"no answer to {question}")
    if behave == "hang":
        time.sleep(3600)
    if behave == "exit":
        os._exit(3)
    return {"answer": question.upper()}
"""
EVALUATION = """
def grade(answer: str, truth: str) -> dict:
    return {"right": float(answer == truth)}

def aggregate(inputs, outputs):
    return {"accuracy": round(sum(outputs["right"]) / len(outputs["right"]), 2)}
"""
SPEC = """
key: id
connections: []
metrics:
  accuracy: {column: right}
gate:
  min_rows: 4
  rules:
    - {metric: accuracy, above: 0.60}
sample:
  inputs: {question: hello}
  answer: {type: object, required: [answer], properties: {answer: {const: HELLO}}}
"""
CONFIG = """
default_prompt_flow: tiny
runtimes_folder: %s
rollout: {steps: [10, 50, 100], step_seconds: 0.2, ready_timeout_seconds: 30, drain_seconds: 5}
evaluation: {row_timeout_seconds: 2}
"""


@dataclass
class Project:
    """A project folder and the `sluice` command in it."""

    root: Path

    @property
    def flow(self) -> Path:
        return self.root / "flows" / "tiny"

    @property
    def state(self) -> Path:
        return self.root / ".sluice"

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "AOAI_", "MLFLOW_"))}
        return {**kept, "HOME": str(self.root / "home")}

    def sluice(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SLUICE, *arguments],
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [SLUICE, *arguments],
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def json(self, *arguments: str, code: int = 0) -> dict:
        done = self.sluice(*arguments, "--json")
        assert done.returncode == code, f"exit {done.returncode}, wanted {code}\n{done.stdout}\n{done.stderr[-6000:]}"
        lines = done.stdout.splitlines()
        assert len(lines) == 1, done.stdout
        return json.loads(lines[0])

    def run(self, *arguments: str, code: int = 0) -> dict:
        return self.json("run", "tiny", *arguments, code=code)

    def write_rows(self, count: int = 8, **extra: dict[str, str]) -> None:
        rows = [
            {"id": f"r{n}", "question": f"word{n}", "truth": f"WORD{n}"} | extra.get(f"r{n}", {}) for n in range(count)
        ]
        self.flow.joinpath("data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def make_project(root: Path) -> Project:
    project = Project(root)
    evaluation = root / "flows" / "tiny_evaluation"
    for folder in (project.flow, evaluation, root / "config", root / "deployments", root / "home"):
        folder.mkdir(parents=True)
    for name in ("orchestration", "blocks", "runtime", "requirements", "prefect.yaml"):
        (root / name).symlink_to(REPOSITORY / name)
    write(project.flow / "callable.toml", 'entry = "tiny:answer"\noutputs = ["answer"]\n')
    write(project.flow / "tiny.py", FLOW)
    write(project.flow / "sluice.yaml", SPEC)
    write(
        project.flow / "run.yml",
        "flow: .\ndata: data.jsonl\ncolumn_mapping:\n  question: ${data.question}\n",
    )
    write(
        project.flow / "run_evaluation.yml",
        "flow: ../tiny_evaluation\ndata: data.jsonl\ncolumn_mapping:\n"
        "  answer: ${run.outputs.answer}\n  truth: ${data.truth}\n",
    )
    write(
        evaluation / "callable.toml", 'entry = "grading:grade"\noutputs = ["right"]\naggregate = "grading:aggregate"\n'
    )
    write(evaluation / "grading.py", EVALUATION)
    project.write_rows()
    write(root / "config" / "base.yaml", CONFIG % (REPOSITORY / ".sluice" / "test-callable-runtimes"))
    for name in ("local", "dev"):
        write(root / "config" / f"{name}.yaml", "allow_dirty: true\n")
    write(root / "config" / "pr.yaml", "evaluate_only: true\n")
    write(root / "config" / "prod.yaml", "allow_dirty: false\n")
    return project


def write(path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text).lstrip())
