from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestration.candidates import (
    check_unchanged,
    list_prompt_flows,
    load_candidate,
    load_run_specs,
    load_spec,
    read_manifest,
    remove_old_candidates,
)
from orchestration.errors import ConfigurationError, EvaluationBroken
from orchestration.values import sha256


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_everything_is_kept_read_only_under_its_hash(project, take):
    candidate = take()
    assert candidate.folder == project / ".sluice" / "candidates" / candidate.id
    assert tree(candidate.folder) == [
        "data.jsonl",
        "deployments/deployment.yaml",
        "evaluator-lock.txt",
        "evaluator/callable.toml",
        "evaluator/grade.py",
        "flow/callable.toml",
        "flow/main.py",
        "lock.txt",
        "manifest.json",
        "run.yml",
        "run_evaluation.yml",
        "sluice.yaml",
    ]
    assert all(not path.stat().st_mode & 0o222 for path in candidate.folder.rglob("*") if path.is_file())
    assert candidate.data_hash == sha256((project / "flows/demo/data.jsonl").read_bytes())
    assert [path.name for path in candidate.folder.parent.iterdir()] == [candidate.id]


def test_the_same_content_is_the_same_candidate_and_is_not_written_again(take):
    first = take()
    before = {path: path.stat().st_ino for path in first.folder.rglob("*")}
    assert take() == first
    assert {path: path.stat().st_ino for path in first.folder.rglob("*")} == before


def test_caches_and_hidden_files_are_no_content(project, take):
    first = take()
    for name in ("__pycache__/main.cpython-311.pyc", ".promptflow/flow.tools.json", ".env", "evaluator/x.pyc"):
        path = project / "flows/demo" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("noise")
    assert take() == first


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("flows/demo/main.py", {"content_hash"}),
        ("flows/demo/new.py", {"content_hash"}),
        ("deployments/demo/deployment.yaml", {"content_hash"}),
        ("flows/demo/evaluator/grade.py", {"evaluator_hash"}),
    ],
)
def test_each_change_is_seen_where_it_belongs(project, take, name, changed):
    first = take()
    path = project / name
    path.write_text((path.read_text() if path.exists() else "") + "# changed\n")
    assert differences(first, take()) == changed


def test_a_new_row_and_another_rule_make_no_other_content(project, take):
    first = take()
    with (project / "flows/demo/data.jsonl").open("a") as file:
        file.write('{"id": "c", "text": "z", "expected": 3}\n')
    second = take()
    assert differences(first, second) == {"data_hash"}
    spec = project / "flows/demo/sluice.yaml"
    spec.write_text(spec.read_text().replace("0.6", "0.7"))
    assert differences(second, take()) == {"rules_hash"}


def test_a_comment_in_the_rules_changes_no_hash_but_the_snapshot(project, take):
    first = take()
    spec = project / "flows/demo/sluice.yaml"
    spec.write_text("# why\n" + spec.read_text())
    second = take()
    assert differences(first, second) == set()
    assert first.id != second.id


def test_the_variant_is_content(project, take):
    first = take()
    run = project / "flows/demo/run.yml"
    run.write_text(run.read_text() + "variant: ${classify.variant_1}\n")
    assert differences(first, take()) == {"content_hash"}
    assert load_run_specs(take()).flow.variant == "${classify.variant_1}"


def differences(first, second):
    names = ("content_hash", "data_hash", "evaluator_hash", "rules_hash", "lock_hash", "evaluator_lock_hash")
    return {name for name in names if getattr(first, name) != getattr(second, name)}


def test_a_damaged_candidate_is_noticed_and_written_anew(take, project):
    candidate = take()
    path = candidate.folder / "flow" / "main.py"
    path.chmod(0o644)
    path.write_text("damaged")
    with pytest.raises(ConfigurationError, match="was changed after it was taken"):
        load_candidate(project / ".sluice", candidate.id)
    assert take() == candidate
    assert path.read_text() == (project / "flows/demo/main.py").read_text()
    assert [path.name for path in candidate.folder.parent.iterdir()] == [candidate.id]


@pytest.mark.parametrize("name", ["flow/main.py", "evaluator/grade.py", "data.jsonl", "manifest.json"])
def test_a_change_of_the_snapshot_is_noticed(take, name):
    candidate = take()
    check_unchanged(candidate)
    path = candidate.folder / name
    content = path.read_bytes()
    path.unlink()
    if name == "manifest.json":  # a consistent forgery
        files = {k: v for k, v in json.loads(content)["files"].items() if k != "data.jsonl"}
        path.write_text(json.dumps(json.loads(content) | {"files": files}))
    with pytest.raises(EvaluationBroken, match=f"The snapshot was changed meanwhile: {name}"):
        check_unchanged(candidate)


def test_a_candidate_is_found_again_by_its_id(take, project):
    candidate = take()
    assert load_candidate(project / ".sluice", candidate.id) == candidate
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_candidate(project / ".sluice", "0" * 32)


def test_many_at_once_make_one(take):
    with ThreadPoolExecutor(8) as pool:
        taken = set(pool.map(lambda _: take(), range(16)))
    assert len(taken) == 1
    folder = taken.pop().folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert len(tree(folder)) == 12


def test_nothing_reads_the_project_again(take, project):
    candidate = take()
    (project / "flows/demo/sluice.yaml").write_text("broken: [")
    (project / "flows/demo/run.yml").unlink()
    assert load_spec(candidate).gate.rules[0].above == 0.6
    run = load_run_specs(candidate)
    assert run.data == candidate.folder / "data.jsonl"
    assert (run.flow.folder, run.flow.framework) == (candidate.folder / "flow", "callable")
    assert run.evaluation.mapping == {"expected": "${data.expected}", "answer": "${run.outputs.answer}"}
    assert str(run.evaluation.places["answer"]) == "flows/demo/run_evaluation.yml:4:column_mapping.answer"
    assert str(run.flow.places["text"]) == "flows/demo/run.yml:4:column_mapping.text"


def test_without_an_evaluation_flow(project, take):
    (project / "flows/demo/run_evaluation.yml").unlink()
    spec = project / "flows/demo/sluice.yaml"
    spec.write_text("gate: {rules: [{metric: failed_ratio, max: 0}]}\nsample: {inputs: {}, answer: {}}\n")
    candidate = take()
    assert (candidate.evaluator_hash, candidate.evaluator_lock_hash) == ("", "")
    assert load_run_specs(candidate).evaluation is None
    assert "flow/evaluator/grade.py" in read_manifest(candidate.folder).files  # then it is just a part of the flow


def test_a_flow_in_a_folder_of_its_own_and_shared_data(project, take):
    flow = project / "flows/demo"
    (flow / "standard").mkdir()
    for name in ("main.py", "callable.toml"):
        (flow / name).rename(flow / "standard" / name)
    (project / "data").mkdir()
    (flow / "data.jsonl").rename(project / "data" / "demo.jsonl")
    (flow / "run.yml").write_text("flow: standard/callable.toml\ndata: ../../data/demo.jsonl\n")
    files = read_manifest(take().folder).files
    assert [name for name in files if name.startswith("flow/")] == ["flow/callable.toml", "flow/main.py"]


def test_links_within_flows_are_followed(project, take):
    (project / "flows/shared").mkdir()
    (project / "flows/shared/words.py").write_text("")
    (project / "flows/demo/words").symlink_to("../shared")
    assert "flow/words/words.py" in read_manifest(take().folder).files


def test_old_candidates_are_removed_by_last_use(take, project):
    first = take()
    os.utime(first.folder, (0, 0))
    (project / "flows/demo/main.py").write_text("another = 1\n")
    second = take()
    state = project / ".sluice"
    assert remove_old_candidates(state, 30, keep={first.id}) == 0
    assert remove_old_candidates(state, 30) == 1
    assert not first.folder.exists()
    assert second.folder.exists()


def test_prompt_flows_are_the_folders_with_a_specification(project):
    (project / "flows/Shared_Code").mkdir()
    (project / "flows/eval").mkdir()
    assert list_prompt_flows(project) == ["demo", "other"]


def test_the_manifest_is_json_that_says_where_things_came_from(take):
    manifest = json.loads((take().folder / "manifest.json").read_text())
    assert manifest["names"]["data.jsonl"] == "flows/demo/data.jsonl"
    assert manifest["files"]["flow/main.py"] == sha256((take().folder / "flow/main.py").read_bytes())
