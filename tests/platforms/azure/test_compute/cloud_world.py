"""A prompt flow with an evaluation flow, evaluated by the emulated prompt flow service in one run."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

from azure_emulator.runtimes import ROOT, Runtimes
from compute_world import ORDER
from release_project import ReleaseProject

from orchestration.candidates import load_spec, take_candidate
from orchestration.settings import bind
from orchestration.steps import cloud_runs, prepare
from orchestration.steps import test_compute as steps
from orchestration.steps.work import Work
from orchestration.values import Evaluation, Request

RUNTIMES = ROOT / ".sluice" / "test-runtimes"
LOCKS = ("promptflow.txt", "promptflow-azure.txt")
FLOW = {
    "flow.dag.yaml": """
        inputs: {n: {type: int}, factor: {type: int, default: 2}}
        outputs: {m: {type: int, reference: "${multiply.output}"}}
        nodes:
        - name: multiply
          type: python
          source: {type: code, path: multiply.py}
          inputs: {n: "${inputs.n}", factor: "${inputs.factor}"}
        """,
    "multiply.py": """
        from promptflow.core import tool

        @tool
        def multiply(n: int, factor: int):
            if n < 0:
                raise ValueError(f"{n} is negative")
            return None if n == 13 else n * factor
        """,
    "sluice.yaml": """
        connections: []
        metrics: {accuracy: {column: right, logged: accuracy}}
        gate: {rules: [{metric: accuracy, min: 0.1}], max_failed_ratio: 0.9, min_rows: 1}
        sample: {inputs: {n: 1}, answer: {m: 2}}
        """,
    "run.yml": """
        flow: .
        data: data.jsonl
        column_mapping: {n: "${data.number}", factor: 2}
        """,
    "run_evaluation.yml": """
        flow: ../numbers_evaluation
        data: data.jsonl
        column_mapping: {got: "${run.outputs.m}", wanted: "${data.twice}"}
        """,
}
EVALUATION = {
    "flow.dag.yaml": """
        inputs: {got: {type: int}, wanted: {type: int}}
        outputs: {right: {type: int, reference: "${grade.output}"}}
        nodes:
        - name: grade
          type: python
          source: {type: code, path: grade.py}
          inputs: {got: "${inputs.got}", wanted: "${inputs.wanted}"}
        - name: total
          type: python
          aggregation: true
          source: {type: code, path: total.py}
          inputs: {grades: "${grade.output}"}
        """,
    "grade.py": """
        from promptflow.core import tool

        @tool
        def grade(got: int, wanted: int) -> int:
            return int(got == wanted)
        """,
    "total.py": """
        from promptflow.core import log_metric, tool

        @tool
        def total(grades):
            log_metric("accuracy", sum(grades) / len(grades))
        """,
}


@dataclass
class CloudRun:
    """One run of the prompt flow `numbers` at the place compute-instance."""

    project: ReleaseProject
    id: str = "6f1c"
    numbers: tuple[int, ...] = (1, 2, 3)
    fresh: bool = False
    more: str = ""
    work: Work = field(init=False)
    runtimes: prepare.Runtimes = field(init=False)

    def __post_init__(self) -> None:
        self.clock = self.project.clock
        rows = [{"number": number, "twice": 2 * number if number != 3 else 7} for number in self.numbers]
        data = {"data.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows)}
        write(self.project.root / "flows" / "numbers", {**FLOW, **data})
        write(self.project.root / "flows" / "numbers_evaluation", EVALUATION)
        settings = self.project.configure(
            self.more, connections=f"place: compute-instance\nruntimes_folder: {RUNTIMES}\n"
        )
        candidate = take_candidate(self.project.root, settings.state, "numbers")
        spec = load_spec(candidate)
        request = Request("numbers", "dev", fresh=self.fresh)
        self.work = Work(self.project.root, request, settings, candidate, spec, bind(settings, spec))
        self.made = steps.equipment(self.work, self.id)
        for lock in LOCKS:
            asyncio.run(Runtimes(RUNTIMES).of(ROOT / "requirements" / lock))
        self.runtimes = prepare.build_runtimes(self.work)

    def ready(self) -> cloud_runs.Prepared:
        """With a runtime that is ready."""
        for step in ORDER:
            step(self.work, self.made, clock=self.clock)
        return cloud_runs.prepare(self.work, self.runtimes)

    def evaluate(self) -> Evaluation:
        """All steps but the removal."""
        prepared = self.ready()
        base = cloud_runs.run_prompt_flow(self.work, self.made, prepared, clock=self.clock)
        graded = cloud_runs.run_evaluation_flow(self.work, self.made, prepared, base, clock=self.clock)
        return cloud_runs.read_results(self.work, self.runtimes, prepared, (base, graded), clock=self.clock)


def write(folder: Path, files: dict[str, str]) -> None:
    import textwrap

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text).lstrip())
