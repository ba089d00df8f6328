"""`sluice plan` says what `run` would do and leaves everything as it is."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest


def tree(root: Path) -> dict[str, str]:
    """Every path below the project with what it holds; Python's own caches are no part of it."""
    found = {}
    for path in sorted(root.rglob("*")):
        if "__pycache__" in path.parts or path.is_symlink():
            continue
        found[str(path.relative_to(root))] = (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
    return found


def test_a_fresh_project_stays_as_it_is(sluice, project) -> None:
    before = tree(project.root)
    plan = sluice("plan", "tiny", "--json").data
    assert tree(project.root) == before
    assert plan["prompt_flow"] == "tiny"
    assert plan["rows"]["flow"] == {"rows": 8, "stored": 0, "missing": 8}
    assert plan["rows"]["evaluator"] == {"rows": 8, "stored": 0, "missing": 8}
    assert plan["rows"]["estimate"]["model_calls"] == 0
    assert plan["gate"] == {"rules": ["accuracy above 0.6"], "min_rows": 4, "max_failed_ratio": 0.0}
    assert plan["model"] is None
    assert plan["endpoint"]["name"] == "tiny-local"
    assert plan["endpoint"]["exists"] is False
    assert plan["traffic_steps"] == [100]
    assert plan["settings"]["rollout.steps"] == {"value": [10, 50, 100], "source": "config/base.yaml"}


def test_after_an_evaluation_everything_is_stored_and_still_nothing_changes(sluice, project) -> None:
    assert sluice("evaluate", "tiny").code == 0
    before = tree(project.root)
    plan = sluice("plan", "tiny", "--json").data
    assert tree(project.root) == before
    assert plan["rows"]["flow"]["missing"] == plan["rows"]["evaluator"]["missing"] == 0
    assert all(each["built"] for each in plan["runtimes"])


def test_a_new_row_is_the_only_one_to_run(sluice, project) -> None:
    sluice("evaluate", "tiny")
    project.write_rows(9)
    plan = sluice("plan", "tiny", "--json").data
    assert plan["rows"]["flow"] == {"rows": 9, "stored": 8, "missing": 1}
    assert plan["rows"]["evaluator"] == {"rows": 9, "stored": 8, "missing": 1}


def test_fresh_runs_every_row(sluice, project) -> None:
    sluice("evaluate", "tiny")
    assert sluice("plan", "tiny", "--fresh", "--json").data["rows"]["flow"]["missing"] == 8


def test_floors_of_the_environment_are_part_of_the_gate(sluice, project) -> None:
    floors = "gate: {min_rows: 20, rules: [{metric: failed_ratio, max: 0.1}]}\n"
    project.root.joinpath("config/dev.yaml").write_text(floors)
    gate = sluice("plan", "tiny", "-e", "dev", "--json").data["gate"]
    assert gate["min_rows"] == 20
    assert gate["rules"][-1] == "failed_ratio at most 0.1 (floor of the environment)"


def test_an_environment_that_only_evaluates_stops_there(sluice, project) -> None:
    plan = sluice("plan", "tiny", "-e", "pr", "--json").data
    assert plan["traffic_steps"] == []
    assert plan["steps"][-1] == "stop: pr only evaluates"


def test_what_run_would_refuse_is_refused(sluice, project) -> None:
    subprocess.run(["git", "init", "--quiet", "."], cwd=project.root, check=True)
    answer = sluice("plan", "tiny", "-e", "prod", "--json")
    assert answer.code == 64
    assert "not committed" in answer.data["error"]["message"]


def test_tokens_and_price_come_from_the_rows_of_earlier_content(sluice, project) -> None:
    prices = "prices: {prompt_per_million: 1000000, completion_per_million: 2000000}"
    project.root.joinpath("config/local.yaml").write_text(f"connections: {{aoai: {{kind: offline, {prices}}}}}\n")
    assert sluice("new", "triage", "--kind", "callable").code == 0
    assert sluice("evaluate", "triage").code == 0
    flow = project.root / "flows" / "triage" / "classifier.py"
    flow.write_text(flow.read_text() + "\n# another content\n")
    estimate = sluice("plan", "triage", "--json").data["rows"]["estimate"]
    assert 50 * 24 < estimate["tokens"] < 100 * 24
    assert estimate["tokens"] < estimate["price"] < 2 * estimate["tokens"]
    assert "earlier" in estimate["basis"] or "commit" in estimate["basis"]
    assert estimate["model_calls"] is None  # a function may call as often as it likes


def test_the_text_numbers_the_steps(sluice, project) -> None:
    text = sluice("plan", "tiny").out
    assert "Plan for tiny unknown-dirty in local (nothing was created)" in text
    assert "  1. " in text
    assert json.dumps("x") not in text


def test_all_prompt_flows_are_planned(sluice, project) -> None:
    project.root.joinpath("config/local.yaml").write_text("connections: {aoai: {kind: offline}}\n")
    sluice("new", "second", "--kind", "callable")
    data = sluice("plan", "all", "--json").data
    assert [plan["prompt_flow"] for plan in data["plans"]] == ["second", "tiny"]


@pytest.mark.parametrize("line", ['{"id": "r0"', "[]"])
def test_bad_data_is_named_by_line(sluice, project, line) -> None:
    project.flow.joinpath("data.jsonl").write_text(line + "\n")
    answer = sluice("plan", "tiny")
    assert answer.code == 64
    assert "flows/tiny/data.jsonl:1" in answer.err
