"""`sluice new`: prompt flows that pass at once, and prompt flows that somebody brings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_project import write

DAG = """
inputs:
  question: {type: string, default: why}
outputs:
  answer: {type: string, reference: "${shout.output}"}
nodes:
- name: shout
  type: llm
  source: {type: code, path: shout.jinja2}
  inputs: {deployment_name: gpt-x, question: "${inputs.question}"}
  connection: theirs
  api: chat
"""


@pytest.fixture
def offline(project):
    project.root.joinpath("config/local.yaml").write_text("connections: {aoai: {kind: offline}}\n")
    return project


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_callable_passes_at_once(sluice, offline) -> None:
    made = sluice("new", "triage", "--kind", "callable", "--json").data
    assert made["next"] == "sluice evaluate triage"
    assert {"flows/triage/sluice.yaml", "flows/triage_evaluation/grading.py"} <= set(made["files"])
    verdict = sluice("evaluate", "triage", "--json")
    assert verdict.code == 0
    assert verdict.data["verdict"] == "PASS"
    assert sluice("test", "triage").code == 0


@pytest.mark.real
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["dag", "flex", "prompty"])
def test_the_kinds_of_promptflow_pass_at_once(sluice, offline, kind) -> None:
    repository = Path(__file__).parents[2]
    base = offline.root / "config" / "base.yaml"
    base.write_text(base.read_text().replace("test-callable-runtimes", "runtimes"))
    assert f"{repository}/.sluice/runtimes" in base.read_text()
    sluice("new", "triage", "--kind", kind)
    verdict = sluice("evaluate", "triage", "--json")
    assert verdict.code == 0, verdict.err
    assert verdict.data["verdict"] == "PASS"
    assert 0.6 < verdict.data["metrics"]["accuracy"] <= 1
    assert verdict.data["metrics"]["tokens_per_row"] > 20
    tried = sluice("test", "triage", "--json")
    assert tried.code == 0
    assert tried.data["nodes"]


@pytest.mark.parametrize("kind", ["dag", "flex", "prompty", "callable"])
def test_what_is_made_has_no_placeholders_and_checks_clean(sluice, offline, kind) -> None:
    sluice("new", "my-flow_2", "--kind", kind)
    for folder in ("my-flow_2", "my-flow_2_evaluation"):
        for name, content in files(offline.root / "flows" / folder).items():
            assert b"@NAME@" not in content, name
            assert b"@OUTPUT@" not in content, name
            assert not name.endswith(".template")
    others = [p for p in sluice("config", "check", "--json").data["problems"] if "my-flow_2" in str(p["file"])]
    assert others == []


@pytest.mark.parametrize("name", ["tiny", "all", "..", "a/b", "../x", "Big", "", "x" * 42, "tiny_evaluation"])
def test_a_name_that_is_taken_or_will_not_do_is_refused_and_nothing_is_made(sluice, project, name) -> None:
    before = files(project.root / "flows")
    answer = sluice("new", name, "--json")
    assert answer.code == 64
    assert answer.data["error"]["message"]
    assert files(project.root / "flows") == before


def test_an_evaluation_folder_that_is_there_is_not_overwritten(sluice, project) -> None:
    (project.root / "flows" / "triage_evaluation").mkdir()
    assert sluice("new", "triage").code == 64
    assert not (project.root / "flows" / "triage").exists()


def test_a_prompt_flow_that_is_brought_stays_as_it_is(sluice, project, tmp_path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "__pycache__").mkdir(parents=True)
    write(theirs / "flow.dag.yaml", DAG)
    write(theirs / "shout.jinja2", "# user:\n{{question}}\n")
    write(theirs / ".env", "KEY=secret\n")
    made = sluice("new", "brought", "--from", str(theirs), "--json").data
    mine = files(project.root / "flows" / "brought")
    assert set(mine) == {"flow.dag.yaml", "shout.jinja2", "sluice.yaml", "run.yml", "data.jsonl"}
    assert all(mine[name] == (theirs / name).read_bytes() for name in ("flow.dag.yaml", "shout.jinja2"))
    assert b"connections: [theirs]" in mine["sluice.yaml"]
    assert b"required: [answer]" in mine["sluice.yaml"]
    assert b"question: ${data.question}" in mine["run.yml"]
    assert mine["data.jsonl"] == b'{"question": "why"}\n'
    assert any("theirs" in each and "needs a connection" in each for each in made["to_do"])


def test_its_own_run_and_data_are_kept(sluice, offline, tmp_path) -> None:
    theirs = tmp_path / "theirs"
    shutil.copytree(offline.flow, theirs)
    (theirs / "sluice.yaml").unlink()
    (theirs / "run_evaluation.yml").unlink()
    assert sluice("new", "brought", "--from", str(theirs)).code == 0
    mine = files(offline.root / "flows" / "brought")
    assert mine["run.yml"] == (theirs / "run.yml").read_bytes()
    assert b'question: "word0"' in mine["sluice.yaml"]
    verdict = sluice("evaluate", "brought", "--json")
    assert verdict.data["verdict"] == "PASS"


def test_a_folder_without_a_prompt_flow_is_refused(sluice, project, tmp_path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        answer = sluice("new", "brought", "--from", str(folder))
        assert answer.code == 64
    assert not (project.root / "flows" / "brought").exists()
