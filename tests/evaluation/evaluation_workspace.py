"""Flows of plain Python for the engine's tests: real runner processes, nothing to install."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

import orchestration
from orchestration.evaluation.job import EvaluationJob, Subject

RUNTIME = Path(orchestration.__file__).parents[1] / "runtime"
UPPER = """
    def run(text: str):
        call(text)
        return {"answer": text.upper()}
"""
EXACT = """
    def run(answer, truth):
        call(answer)
        return {"grade": float(answer == truth)}

    def aggregate(inputs, outputs):
        call("aggregate")
        return {"accuracy": sum(outputs["grade"]) / len(outputs["grade"])}
"""
MARK = "SLUICE_TEST_FOLDER"
MAPPING = {"answer": "${run.outputs.answer}", "truth": "${data.truth}"}


class Workspace:
    """A folder with a prompt flow, an evaluator, data and state; it also knows which rows were really called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PYTHONPATH": str(RUNTIME), MARK: str(folder)}

    def subject(self, name: str, source: str, *, outputs: list[str] | None = None, **fields: Any) -> Subject:
        """Write a callable flow. Its code has `call(x)`, which notes that it was called."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        code = textwrap.dedent(source)
        note = f"def call(x):\n    with open({str(self.folder / f'{name}.calls')!r}, 'a') as f:\n        f.write(f'{{x}}\\n')\n"
        (folder / f"{name}_main.py").write_text(note + code)
        aggregate = f'aggregate = "{name}_main:aggregate"\n' if "def aggregate" in code else ""
        (folder / "callable.toml").write_text(f'entry = "{name}_main:run"\noutputs = {outputs or []}\n{aggregate}')
        content = fields.pop("content_hash", code)
        return Subject(folder, Path(sys.executable), content, environment=self.environment, **fields)

    def calls(self, name: str = "flow") -> list[str]:
        """What `call` was given since the last look."""
        file = self.folder / f"{name}.calls"
        calls = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return calls

    def data(self, records: list[Any]) -> Path:
        path = self.folder / "data.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    def job(
        self, source: str = UPPER, rows: int | list[Any] = 8, *, graded: bool = False, **fields: Any
    ) -> EvaluationJob:
        outputs = fields.pop("outputs", ["answer"])
        records = rows if isinstance(rows, list) else [{"text": f"t{i}", "truth": f"T{i}"} for i in range(rows)]
        return EvaluationJob(
            flow=self.subject("flow", source, outputs=outputs),
            evaluator=self.subject("evaluator", EXACT, outputs=["grade"], mapping=MAPPING) if graded else None,
            data=self.data(records),
            state=self.folder / "state",
            logs=self.folder / "logs",
            **fields,
        )

    def log(self, name: str = "flow") -> str:
        return (self.folder / "logs" / f"{name}.log").read_text()


def without_runtime(job: EvaluationJob) -> EvaluationJob:
    """The same job, which fails if a process has to be started."""
    nowhere = Path("/nonexistent/python")
    evaluator = job.evaluator and replace(job.evaluator, python=nowhere)
    return replace(job, flow=replace(job.flow, python=nowhere), evaluator=evaluator)


def runners_of(folder: Path) -> list[psutil.Process]:
    """Living processes that run or were started by user code of this workspace."""
    mine = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                mine.append(process)
        except psutil.Error:
            continue
    return mine
