"""The engine over real prompt flows: a DAG, graded by a DAG with an aggregation node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_workspace import MAPPING, Workspace

from orchestration.evaluation.engine import evaluate, run_row
from orchestration.evaluation.job import EvaluationJob, Subject

FLOW = """
inputs:
  text: {type: string}
outputs:
  answer: {type: string, reference: "${shout.output}"}
nodes:
- name: shout
  type: python
  source: {type: code, path: shout.py}
  inputs: {text: "${inputs.text}", ending: "!"}
"""
SHOUT = """
from promptflow.core import tool

@tool
def shout(text: str, ending: str) -> str:
    if text == "t3":
        raise ValueError("no t3")
    return text.upper() + ending
"""
EVALUATOR = """
inputs:
  answer: {type: string}
  truth: {type: string}
outputs:
  grade: {type: string, reference: "${compare.output}"}
nodes:
- name: compare
  type: python
  source: {type: code, path: compare.py}
  inputs: {answer: "${inputs.answer}", truth: "${inputs.truth}"}
- name: count
  type: python
  source: {type: code, path: compare.py}
  inputs: {answer: "${inputs.answer}", truth: "${inputs.truth}"}
- name: accuracy
  type: python
  source: {type: code, path: accuracy.py}
  inputs: {grades: "${compare.output}", seen: "${count.output}"}
  aggregation: true
"""
COMPARE = """
from promptflow.core import tool

@tool
def compare(answer: str, truth: str) -> str:
    return "right" if answer == truth else "wrong"
"""
ACCURACY = """
from typing import List
from promptflow.core import log_metric, tool

@tool
def accuracy(grades: List[str], seen: List[str]):
    log_metric("accuracy", grades.count("right") / len(grades))
    log_metric("seen", len(seen))
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def job(workspace: Workspace, promptflow_python: Path) -> EvaluationJob:
    flow = write(workspace.folder / "flow", {"flow.dag.yaml": FLOW, "shout.py": SHOUT})
    files = {"flow.dag.yaml": EVALUATOR, "compare.py": COMPARE, "accuracy.py": ACCURACY}
    evaluator = write(workspace.folder / "evaluator", files)
    environment = workspace.environment
    return EvaluationJob(
        flow=Subject(flow, promptflow_python, "flow", environment=environment),
        evaluator=Subject(evaluator, promptflow_python, "evaluator", mapping=MAPPING, environment=environment),
        data=workspace.data([{"text": f"t{i}", "truth": f"T{i}!" if i % 2 else "?"} for i in range(10)]),
        state=workspace.folder / "state",
        logs=workspace.folder / "logs",
    )


@pytest.mark.real
def test_a_dag_is_run_graded_aggregated_and_then_known(job: EvaluationJob):
    first = evaluate(job)
    again = evaluate(job)
    assert [i for i, row in enumerate(first.rows) if row.result.error] == [3]
    assert first.rows[3].result.error.where.startswith("shout.py:")
    assert first.rows[1].result.output == {"answer": "T1!"}
    assert [row.grades and row.grades["grade"] for row in first.rows][:4] == ["wrong", "right", "wrong", None]
    assert set(first.rows[0].grades) == {"grade"}
    assert first.logged == {"accuracy": 4 / 9, "seen": 9}
    assert first.stopped is None
    assert again.cached == 9


@pytest.mark.real
def test_an_override_of_a_node_makes_other_rows(job: EvaluationJob):
    evaluate(job)
    job = replace(job, flow=replace(job.flow, overrides={"shout": {"ending": "?"}}))
    evaluation = evaluate(job)
    assert evaluation.cached == 0
    assert evaluation.rows[0].result.output == {"answer": "T0?"}


@pytest.mark.real
def test_one_row_shows_its_nodes(job: EvaluationJob):
    result = run_row(job, {"text": "abc"})
    assert result.output == {"answer": "ABC!"}
    assert [(node["name"], node["output"]) for node in result.nodes] == [("shout", "ABC!")]
