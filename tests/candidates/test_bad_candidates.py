"""Each mistake in a prompt flow gives one line with file, line, key and cure, and creates nothing."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.candidates import take_candidate
from orchestration.errors import ConfigurationError

FLOW = "flows/demo"
SPEC, RUN, GRADE, DATA = (f"{FLOW}/{name}" for name in ("sluice.yaml", "run.yml", "run_evaluation.yml", "data.jsonl"))


def take(project, name="demo"):
    return take_candidate(project, project / ".sluice", name)


def refused(project, name="demo"):
    """The message of the refusal; nothing was created."""
    before = sorted(path for path in project.rglob("*"))
    with pytest.raises(ConfigurationError) as error:
        take(project, name)
    assert sorted(path for path in project.rglob("*")) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def replace(project, file, old, new):
    path = project / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


REPLACED = {
    "unknown key": (SPEC, "slices:", "slice:", f"{SPEC}:2:slice: unknown key 'slice'. Did you mean 'slices'?"),
    "wrong type": (SPEC, "above: 0.6", 'above: "0.6"', (f'{SPEC}:9:gate.rules.0.above: found "0.6", expected a number. '
                   "Write 0.6 without quotes.")),
    "percentage": (SPEC, "0.6", "60", f"{SPEC}:9:gate.rules.0.above: 60 is not between 0 and 1. Write 0.6."),
    "below 0": (SPEC, "max: 20", "max: -1", f"{SPEC}:11:gate.rules.1.max: -1 is below 0, and p95_seconds never is."),
    "unknown metric": (SPEC, "metric: accuracy", "metric: acuracy",
                       f"{SPEC}:8:gate.rules.0.metric: there is no metric 'acuracy'. Did you mean 'accuracy'?"),
    "metric without column": (SPEC, "column: grade", "from: rows",
                              f"{SPEC}:4:metrics.accuracy: needs `column`, the evaluation flow's output that grades a row."),
    "built-in name": (SPEC, "  accuracy:", "  failed_ratio:",
                      f"{SPEC}:4:metrics.failed_ratio: 'failed_ratio' is the name of a built-in metric. Choose another name."),
    "no gate": (SPEC, "gate:", "gates:", f"{SPEC}:6:gates: unknown key 'gates'. Did you mean 'gate'?"),
    "slice": (SPEC, "[kind]", "[kin]", f"{SPEC}:2:slices.0: no row has a column 'kin'. Did you mean 'kind'?"),
    "key column": (SPEC, "key: id", "key: ident", f"{DATA}: no row has the key column 'ident'. "),
    "unknown key of a run": (RUN, "data:", "datum:", f"{RUN}:2:datum: unknown key 'datum'. Did you mean 'data'?"),
    "missing data file": (RUN, "data.jsonl", "dat.jsonl",
                          f"{RUN}:2:data: the file {FLOW}/dat.jsonl does not exist. Did you mean 'data.jsonl'?"),
    "no data": (RUN, "data: data.jsonl\n", "", f"{RUN}:data: the key 'data' is missing. "),
    "data outside": (RUN, "data.jsonl", "../../../x.jsonl", f"{RUN}:2:data: '../../../x.jsonl' leaves the project."),
    "flow outside": (RUN, "flow: .", "flow: ../../config", f"{RUN}:1:flow: '../../config' leaves flows/."),
    "flow missing": (GRADE, "flow: evaluator", "flow: evaluater",
                     f"{GRADE}:1:flow: the folder {FLOW}/evaluater does not exist."),
    "same folder": (GRADE, "flow: evaluator", "flow: .", f"{GRADE}:1:flow: is the folder of the prompt flow itself. "),
    "not the marker": (RUN, "flow: .", "flow: main.py", f"{RUN}:1:flow: {FLOW} is opened by callable.toml, not by main.py."),
    "variant": (RUN, "flow: .", "variant: variant_1", f'{RUN}:1:variant: found "variant_1", expected ${{node.variant}}.'),
    "mapping": (RUN, "${data.text}", "${date.text}",
                f"{RUN}:4:column_mapping.text: '${{date.text}}' is not a reference to a column or output. "),
    "mapped column": (GRADE, "${data.expected}", "${data.expectd}",
                      (f"{GRADE}:3:column_mapping.expected: no row of {DATA} has a column 'expectd'. "
                      "Did you mean 'expected'?")),
    "broken line": (DATA, '{"id": "b"', '{"id" "b"', f"{DATA}:2: is not JSON: Expecting ':' delimiter at column 7."),
    "no object": (DATA, '{"id": "b", "text": "y", "expected": 2, "kind": "k"}', "[1]",
                  f"{DATA}:2: found list, expected an object. Write one JSON object per line."),
    "NaN": (DATA, '"expected": 2', '"expected": NaN', f"{DATA}:2: is not JSON: NaN is not a JSON value."),
    "a column twice": (DATA, '"expected": 2', '"expected": 2, "expected": 3', f"{DATA}:2: is not JSON: the key 'expected' stands in it twice."),
    "infinity": (DATA, '"expected": 2', '"expected": 1e999', f"{DATA}:2: is not JSON: 1e999 is too large a number."),
    "inexact": (DATA, '"expected": 2', '"expected": 9007199254740993',
                f"{DATA}:2: is not JSON: 9007199254740993 is too large a whole number to be exact; write it as text."),
    "duplicate key": (DATA, '"id": "b"', '"id": "a"',
                      f"{DATA}:2:id: the key 'a' already names the row in line 1. Give each row a key of its own."),
    "no key": (DATA, '"id": "b"', '"id": null', f"{DATA}:2:id: needs text or a whole number as its key."),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REPLACED)
def test_mistake_gives_one_line_with_place_and_cure(project, mistake):
    file, old, new, message = REPLACED[mistake]
    replace(project, file, old, new)
    assert refused(project).startswith(message)


def test_unknown_prompt_flow_names_the_nearest(project):
    assert refused(project, "dmeo") == "flows: there is no prompt flow 'dmeo'. Did you mean 'demo'?"


@pytest.mark.parametrize(
    "name", ["..", "../demo", "demo/../demo", "/etc", "demo/evaluator", "a\\b", "", ".", "Demo", "x" * 42]
)
def test_what_is_no_name_never_becomes_a_path(project, name):
    assert refused(project, name).startswith(f"flows: {name!r} is not the name of a prompt flow")


@pytest.mark.parametrize("name", ["sluice.yaml", "run.yml"])
def test_missing_specification(project, name):
    (project / FLOW / name).unlink()
    assert refused(project) == f"{FLOW}/{name}: the file is missing."


def test_missing_evaluation_flow_for_metrics_of_rows(project):
    (project / GRADE).unlink()
    assert refused(project) == f"{SPEC}:3:metrics: metrics need an evaluation flow, and there is no {GRADE}."


def test_missing_flow_marker(project):
    (project / FLOW / "callable.toml").unlink()
    assert refused(project) == (
        f"{RUN}:1:flow: {FLOW} holds no prompt flow: it has none of flow.dag.yaml, flow.flex.yaml, callable.toml, "
        "*.prompty. Add the file, or correct `flow`."
    )


def test_aliases_that_stand_for_more_than_can_be_read(project):
    doubled = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))
    (project / SPEC).write_text(f"a0: &a0 [{', '.join('x' * 9)}]\n{doubled}")
    assert refused(project) == f"{SPEC}: holds more than 100000 values; aliases multiply them."


@pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
def test_empty_data(project, content):
    (project / DATA).write_bytes(content)
    assert refused(project) == f"{DATA}: has no rows. Write one JSON object per line."


def test_data_that_is_not_utf8(project):
    (project / DATA).write_bytes(b'{"id": "a", "text": "x", "kind": 1}\n{"id": "\xff"}\n')
    assert refused(project) == f"{DATA}:2: is not UTF-8 at byte 8 of the line."


def test_other_data_for_the_evaluation(project):
    (project / FLOW / "truth.jsonl").write_text('{"expected": 1}\n')
    replace(project, GRADE, "flow: evaluator", "flow: evaluator\ndata: truth.jsonl")
    assert (
        refused(project)
        == f"{GRADE}:2:data: {FLOW}/truth.jsonl holds other rows than {DATA}. Name {DATA} there too: the truth may stand beside the inputs."
    )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/etc/hostname", "is a link that leaves flows/."),
        ("/etc", "is a link that leaves flows/."),
        ("../../config/base.yaml", "is a link that leaves flows/."),
        ("nowhere", "is neither a file nor a folder."),
        ("../demo", "is a link to a folder above it."),
    ],
)
def test_links_that_lead_elsewhere(project, target, message):
    (project / FLOW / "link").symlink_to(target)
    assert refused(project) == f"{FLOW}/link: {message} Copy what is needed into the folder."


def test_a_link_that_leads_to_itself(project):
    (project / FLOW / "link").symlink_to("link")
    assert refused(project) == f"{FLOW}/link: is neither a file nor a folder. Copy what is needed into the folder."


@pytest.mark.parametrize("name", ["sluice.yaml", "run.yml", "run_evaluation.yml"])
def test_a_specification_that_is_a_link_out_of_flows(project, tmp_path, name):
    (project / FLOW / name).rename(tmp_path / name)
    (project / FLOW / name).symlink_to(tmp_path / name)
    assert refused(project) == f"{FLOW}/{name}: is a link that leaves flows/. Copy the file."


@pytest.mark.parametrize("line", ["-r ../../shared.txt", "--constraint=../other.txt", "-c missing.txt"])
def test_requirements_that_include_a_file_from_elsewhere(project, line):
    (project / FLOW / "requirements.txt").write_text(f"# ours\n{line}\n")
    assert refused(project).startswith(f"{FLOW}/requirements.txt:2: ")
    assert "is not one of the .txt files beside it. Copy it into the folder." in refused(project)


def test_prompt_flow_that_is_a_link_out_of_flows(project, tmp_path):
    (project / FLOW).rename(tmp_path / "elsewhere")
    (project / FLOW).symlink_to(tmp_path / "elsewhere")
    assert refused(project).startswith(f"{FLOW}: is a link that leaves flows/.")


def test_state_folder_that_is_a_file(project):
    (project / ".sluice").write_text("")
    assert refused(project) == (
        ".sluice: the state folder can't be used: Not a directory. "
        "Make it writable, or set state_folder in config/base.yaml."
    )


def test_state_folder_that_cannot_be_written(project):
    (project / ".sluice").mkdir(mode=0o500)
    if os.access(project / ".sluice", os.W_OK):
        pytest.skip("this user may write every folder")
    assert refused(project).startswith(".sluice: the state folder can't be used: Permission denied.")


@pytest.mark.real
def test_requirements_that_do_not_resolve(project):
    (project / FLOW / "requirements.txt").write_text("# ours\nidna==3.10\nidna==2.0\n")
    message = refused(project)
    assert message.startswith(f"{FLOW}/requirements.txt:2:idna: can't be resolved: Because you require idna==")
    assert str(project) not in message


@pytest.mark.real
def test_requirements_that_are_no_requirements(project):
    (project / FLOW / "requirements.txt").write_text("# ours\nidna=3\n")
    assert refused(project).startswith(
        f"{FLOW}/requirements.txt:2:idna: can't be resolved: no such comparison operator"
    )


KEYS = {
    SPEC: ["key", "slices", "metrics", "metrics.accuracy.column", "gate", "gate.rules", "gate.rules.0.metric",
           "gate.rules.0.above", "gate.rules.1.max", "sample", "sample.inputs", "sample.answer"],
    RUN: ["flow", "data", "column_mapping"],
    GRADE: ["flow", "column_mapping"],
}  # fmt: skip


def _corrupt(text, key, how):
    """The line of `key` with the key mistyped, or with a value of a wrong type and what stood below it gone."""
    lines, line, indent = text.splitlines(), 0, 0
    for part in key.split("."):
        if part.isdigit():
            starts = [n for n in range(line, len(lines)) if lines[n].lstrip().startswith("- ")]
            line = starts[int(part)]
        else:
            line = next(n for n in range(line, len(lines)) if lines[n].lstrip(" -{").startswith(f"{part}:"))
    head, _, value = lines[line].partition(":")
    if how == "typo":
        return [*lines[:line], f"{head}x:{value}", *lines[line + 1 :]], line + 1
    indent = len(head) - len(head.lstrip(" -"))
    deeper = (n for n in range(line + 1, len(lines)) if len(lines[n]) - len(lines[n].lstrip(" ")) <= indent)
    below = next(deeper, len(lines)) if not value.strip() else line + 1
    wrong = "[[1]]" if value.strip() and "[" not in value and "{" not in value else "wrong"
    return [*lines[:line], f"{head}: {wrong}", *lines[below:]], line + 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from([(f, k) for f, keys in KEYS.items() for k in keys]), how=st.sampled_from(["type", "typo"]))
def test_any_single_corruption_is_refused_at_its_place(project, place, how):
    file, key = place
    path, text = project / file, (project / file).read_text()
    corrupt, line = _corrupt(text, key, how)
    path.write_text("\n".join(corrupt) + "\n")
    try:
        with pytest.raises(ConfigurationError) as error:
            take(project)
    finally:
        path.write_text(text)
    at = error.value.at
    assert (at.file, at.line, at.key) == (file, line, key + ("x" if how == "typo" else ""))
    assert not (project / ".sluice").exists()


@pytest.mark.parametrize("key", ["connections", "environment_variables", "init"])
def test_keys_of_a_run_that_what_serves_would_not_have(project, key):
    path = project / FLOW / "run.yml"
    path.write_text(path.read_text() + f"{key}: {{a: b}}\n")
    assert f"'{key}' would hold for the evaluation only." in refused(project)


def test_keys_for_cloud_runs_are_accepted(project):
    path = project / FLOW / "run.yml"
    path.write_text(path.read_text() + "runtime: automatic\nresources: {instance_type: x}\n")
    take_candidate(project, project / ".sluice", "demo")
