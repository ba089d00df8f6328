"""promptflow's own client against the emulated service: what it learns is what the same rows give on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spec_check
from azure_clients import lead_to
from azure_emulator import RealClock, emulator
from azure_emulator.faults import OperationNeverEnds
from prompt_flow_calls import FLOW
from prompt_flow_world import HOST, REPOSITORY, PromptFlowWorld, python

from orchestration.evaluation.engine import evaluate
from orchestration.evaluation.job_file import read_job
from orchestration.values import Evaluation

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("blobs"), pytest.mark.timeout(300)]
FLOWS = REPOSITORY / "flows"
NAME = "named_entity_recognition"
ROWS = 20
BASE = {"text": "${data.text}", "entity_type": "${data.entity_type}"}
GRADES = {"entities": "${run.outputs.entities}", "truth": "${data.entities}"}
SPEED = 60.0


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[PromptFlowWorld]:
    """The client has a process of its own, so the clock must move by itself."""
    with emulator(clock=RealClock(SPEED)) as cloud:
        lead_to(cloud, monkeypatch)
        yield PromptFlowWorld(cloud, tmp_path)
    assert (cloud.refused, cloud.unknown, cloud.crashes) == ([], [], [])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = (FLOWS / NAME / "data.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    file = tmp_path / "data.jsonl"
    file.write_text("".join(lines[:ROWS]), encoding="utf-8")
    return file


def here(data: Path, folder: Path) -> Evaluation:
    """The same rows by the project's own engine, with the embedded model on this machine."""
    job = {
        "python": str(python()),
        "flow": {"folder": str(FLOWS / NAME), "mapping": BASE},
        "evaluator": {"folder": str(FLOWS / f"{NAME}_evaluation"), "mapping": GRADES},
        "data": str(data),
        "state": str(folder / "state"),
        "upstreams": {"aoai": {"kind": "offline"}},
    }
    (folder / "job.json").write_text(json.dumps(job))
    return evaluate(read_job(folder / "job.json"))


def rows(details: dict[str, Any]) -> list[dict[str, Any]]:
    """A table of the client's, as one mapping per line, without its prefixes."""
    names = [name.partition(".")[2] for name in details["columns"]]
    return [dict(zip(names, values, strict=True)) for values in details["data"]]


def test_a_run_and_its_evaluation_give_what_they_give_here(world: PromptFlowWorld, data: Path, tmp_path: Path) -> None:
    flow, downloaded = FLOWS / NAME, tmp_path / "downloaded"
    base = {"name": "base", "flow": str(flow), "data": str(data), "column_mapping": BASE, "tags": {"sluice": "1"}}
    graded = {"name": "graded", "flow": f"{flow}_evaluation", "data": str(data), "run": "base"}
    learned = world.learn({**base, "download": str(downloaded), "again": True}, {**graded, "column_mapping": GRADES})
    expected = here(data, tmp_path)
    assert expected.completed == ROWS
    answered, grades = (rows(learned["runs"][name]["details"]) for name in ("base", "graded"))
    assert [{"entities": each["entities"]} for each in answered] == [dict(row.result.output) for row in expected.rows]
    names = list(expected.rows[0].grades)
    assert [{name: each[name] for name in names} for each in grades] == [dict(row.grades) for row in expected.rows]
    assert learned["runs"]["graded"]["metrics"] == dict(expected.logged)
    assert learned["listed"] == ["base", "graded"]
    run = learned["runs"]["base"]
    assert (run["statuses"][0], run["statuses"][-1]) == ("NotStarted", "Completed")
    assert run["properties"]["azureml.promptflow.total_tokens"] == str(
        sum(row.result.tokens.total for row in expected.rows)
    )
    assert run["tags"] == {"sluice": "1", "kept": "yes"}
    assert {"snapshot/flow.dag.yaml", "flow_outputs/output.jsonl", "metrics.json", "logs.txt"} <= set(run["files"])
    submitted = [each for each in world.cloud.exchanges if each.url.endswith("/BulkRuns/submit")]
    assert len(submitted) == 3
    called = [each for each in world.cloud.exchanges if HOST in each.url]
    assert len(called) == ROWS
    assert spec_check.findings(world.cloud, tmp_path) == []


def test_what_goes_wrong_is_told_to_the_client(world: PromptFlowWorld, data: Path, tmp_path: Path) -> None:
    flow = tmp_path / "double"
    world.put("double", FLOW, tmp_path)
    numbers = tmp_path / "numbers.jsonl"
    numbers.write_text('{"n": -1}\n{"n": -2}\n')
    lost = tmp_path / "lost"
    world.put(
        "lost", {"flow.dag.yaml": (FLOWS / NAME / "flow.dag.yaml").read_text().replace("aoai", "nobody")}, tmp_path
    )
    for name in ("cleansing.py", "NER_LLM.jinja2"):
        (lost / name).write_text((FLOWS / NAME / name).read_text())
    usual = {"flow": str(flow), "data": str(numbers), "column_mapping": {"n": "${data.n}"}}
    elsewhere = {"flow": str(lost), "data": str(data), "column_mapping": BASE}
    world.cloud.scenario.fault("POST", "bulkRuns/submit", OperationNeverEnds())
    runs = world.learn(
        {**usual, "name": "canceled", "cancel": True},
        {**usual, "name": "failing"},
        {**usual, "name": "unmapped", "column_mapping": {"n": "${data.number}"}},
        {**elsewhere, "name": "unconnected"},
        {**elsewhere, "name": "reconnected", "connections": {"NER_LLM": {"connection": "aoai"}}},
        {**usual, "name": "nowhere", "runtime": "none"},
    )["runs"]
    failing = runs["failing"]
    assert failing["status"] == "Completed"
    assert failing["metrics"].get("sum", 0) == 0
    assert failing["details"]["columns"] == ["inputs.n", "inputs.line_number"]
    counts = world.metrics("failing")
    assert (counts["__pf__.lines.failed"], counts["__pf__.lines.completed"]) == (2, 0)
    assert runs["unmapped"]["status"] == "Failed"
    assert "${data.number}" in runs["unmapped"]["error"]["error"]["message"]
    assert runs["unconnected"]["status"] == "Failed"
    assert "nobody" in runs["unconnected"]["error"]["error"]["message"]
    assert runs["reconnected"]["status"] == "Completed"
    assert {each["status"] for each in world.lines("reconnected")} == {"Completed"}
    assert "The runtime none was not found" in runs["nowhere"]["refused"]
    assert runs["canceled"]["status"] == "Canceled"
    assert spec_check.findings(world.cloud, tmp_path) == []
