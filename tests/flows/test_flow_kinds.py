"""Prompt flows as others write them, of each kind: a folder copied in and a few lines of YAML beside it, and no code.

`fixtures/<name>/flow` is the prompt flow, `fixtures/<name>/added` what Sluicegate needs beside it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_project import make_project, write

from orchestration.steps import evaluate, prepare
from orchestration.values import Decision, Evaluation, Request, Verdict

pytestmark = pytest.mark.real

FIXTURES = Path(__file__).with_name("fixtures")
REPOSITORY = Path(__file__).parents[2]
EVALUATIONS = ("exact_answer", "mentions")
ADDED = {"sluice.yaml", "run.yml", "run_evaluation.yml"}
CONFIG = f"""
    default_prompt_flow: tiny
    runtimes_folder: {REPOSITORY}/.sluice/runtimes
    connections: {{aoai: {{kind: offline}}}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with the repository's code, the prompt flows of the fixtures, and their evaluation flows."""
    root = make_project(tmp_path / "project").root
    write(root / "config" / "base.yaml", CONFIG)
    for folder in sorted(FIXTURES.glob("*/flow")):
        place = root / "flows" / folder.parent.name
        shutil.copytree(folder, place)
        shutil.copytree(folder.with_name("added"), place, dirs_exist_ok=True)
    for name in EVALUATIONS:
        shutil.copytree(FIXTURES / name, root / "flows" / name)
    return root


def judge(root: Path, name: str) -> tuple[Evaluation, Decision]:
    work = prepare.take(Request(name, "local"), root=root)
    evaluation = evaluate.run_rows(work, prepare.build_runtimes(work))
    return evaluation, evaluate.decide(work, evaluation)


def outputs(evaluation: Evaluation) -> list[dict]:
    assert evaluation.failed == 0, [row.result.error for row in evaluation.rows if row.result.error]
    return [dict(row.result.output) for row in evaluation.rows]


def test_only_yaml_is_added_and_nothing_of_the_prompt_flow_is_replaced():
    for folder in FIXTURES.glob("*/added"):
        added = {path.name for path in folder.iterdir()}
        assert {"sluice.yaml", "run.yml"} <= added <= ADDED
        assert not added & {path.name for path in folder.with_name("flow").iterdir()}


def test_a_dag_flow_with_variants(root):
    evaluation, decision = judge(root, "ticket_routing")
    assert decision.verdict is Verdict.PASS, decision.reasons
    assert {row["queue"] for row in outputs(evaluation)} == {"Billing", "Technical", "Shipping", "Other"}
    assert decision.metrics["accuracy"] == 7 / 8
    assert evaluation.logged == {"accuracy": 0.88}
    assert all(row.result.tokens.prompt > 20 for row in evaluation.rows)


def test_the_variant_is_run_yml_s_to_choose(root):
    run = root / "flows" / "ticket_routing" / "run.yml"
    run.write_text(run.read_text().replace("route.listed", "route.chatty"))
    evaluation, decision = judge(root, "ticket_routing")
    assert {row["queue"] for row in outputs(evaluation)} == {""}
    assert (decision.verdict, decision.metrics["accuracy"]) == (Verdict.FAIL, 0.0)


def test_a_prompty(root):
    evaluation, decision = judge(root, "review_mood")
    assert decision.verdict is Verdict.PASS, decision.reasons
    assert {row["output"] for row in outputs(evaluation)} == {"positive", "negative"}
    assert decision.metrics["accuracy"] == 1.0


def test_a_flex_flow_that_is_a_function_needs_no_evaluation_flow(root):
    evaluation, decision = judge(root, "note_taker")
    assert decision.verdict is Verdict.PASS, decision.reasons
    assert all(0 < len(row["output"].split()) <= 8 for row in outputs(evaluation))
    assert 20 < decision.metrics["tokens_per_row"] < 200


def test_a_flex_flow_that_is_a_class_graded_by_a_class(root):
    evaluation, decision = judge(root, "reading_desk")
    assert decision.verdict is Verdict.PASS, decision.reasons
    assert outputs(evaluation)[0] == {"answer": "The ferry leaves at nine.", "length": 25}
    assert decision.metrics["mentioned"] == 0.8
    assert evaluation.logged == {"mentioned": 0.8}
