"""All rows of `web_classification` through the real runner and through promptflow itself, against the embedded model."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration.gate import decide
from orchestration.specs import Gate, Metric, PromptFlowSpec, Rule, Sample
from orchestration.values import Evaluation, GradedRow, Row, RowResult, Status, Verdict

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
FLOW = ROOT / "flows" / "web_classification"
EVALUATION = FLOW.with_name("web_classification_evaluation")
ROWS = [json.loads(line) for line in (FLOW / "data.jsonl").read_text("utf-8").splitlines()]
INPUTS = {row["url"]: {"url": row["url"], "snapshot": row["snapshot"]} for row in ROWS}
SPEC = PromptFlowSpec(
    metrics={"accuracy": Metric(column="grade", equals="Correct")},
    gate=Gate(rules=(Rule(metric="accuracy", above=0.6),), min_rows=100),
    sample=Sample(inputs={"url": "x"}, answer={}),
)


@contextmanager
def embedded_model() -> Iterator[str]:
    """The embedded model as a process that ends with its standard input."""
    argv = [sys.executable, "-m", "orchestration.embedded_model", "--until-eof"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.stdin.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded_model() as address:
        yield address


@pytest.fixture
def runner(promptflow_python, url, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "runtime"))
    from runner_fixture import Runner

    connections = {"aoai": {"type": "llm", "base_url": url, "api_key": "dummy", "model": None}}

    def start(flow: Path, **opening: object) -> Runner:
        env = {"HOME": str(tmp_path)}
        return Runner(flow, python=promptflow_python, env=env, connections=connections, **opening)

    return start


def outputs_of(ended: dict) -> dict[str, dict]:
    broken = [end for end in ended.values() if end["status"] != "completed"]
    assert not broken, broken[:1]
    return {url: end["output"] for url, end in ended.items()}


def columns(rows: dict[str, dict]) -> dict[str, list]:
    """Rows as lists, one per name, as the protocol's `aggregate` wants them."""
    names = next(iter(rows.values()))
    return {name: [row[name] for row in rows.values()] for name in names}


def classify(runner, variant: int, flow: Path = FLOW) -> dict[str, dict]:
    with runner(flow, variant=f"${{classify.variant_{variant}}}") as running:
        running.ready()
        return outputs_of(running.run(INPUTS))


def evaluate(runner, given: dict[str, dict]) -> Evaluation:
    """Grade every answer and aggregate, in the runner."""
    pairs = {r["url"]: {"groundtruth": r["category"], "prediction": given[r["url"]]["category"]} for r in ROWS}
    with runner(EVALUATION) as grading:
        assert grading.ready()["aggregation"] is True
        grades = outputs_of(grading.run(pairs))
        grades = {url: grades[url] for url in pairs}
        grading.send(type="aggregate", inputs=columns(pairs), outputs=columns(grades))
        logged = grading.next("metrics", "failed")
    assert logged["type"] == "metrics", logged
    rows = [
        GradedRow(Row(url, line, {}, {}), RowResult(url, Status.COMPLETED, given[url]), {"grade": grades[url]["grade"]})
        for line, url in enumerate(pairs, 1)
    ]
    return Evaluation("e", len(ROWS), tuple(rows), logged["values"])


@pytest.mark.parametrize(("variant", "right"), [(0, 103), (1, 102)])
def test_every_row_is_answered_and_graded_and_the_gate_passes(runner, variant, right):
    """`right` is what the README states: a change of the embedded model or of the data changes both."""
    evaluation = evaluate(runner, classify(runner, variant))
    assert evaluation.logged.keys() == {"accuracy"}
    result = decide(evaluation, SPEC)
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.metrics["accuracy"] == right / len(ROWS)


LABELS = r"(?m)^- \w+: .*\n"
SYSTEM = r"(?s)# system:.*?# user:"


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"classify_variant_1.jinja2": (LABELS, "")}, 0.1),
        ({"classify_variant_1.jinja2": (SYSTEM, "# system:\nBe helpful.\n\n# user:")}, 0.1),
        ({"summarize.jinja2": (r"(?s)^.*?Text:", "# system:\nBe helpful.\n\n# user:\nText:")}, 0.5),
    ],
    ids=["no labels", "no instruction", "no instruction to summarise"],
)
def test_a_broken_prompt_fails(runner, tmp_path, changes, most):
    broken = shutil.copytree(FLOW, tmp_path / "broken")
    for name, (pattern, replacement) in changes.items():
        whole = (broken / name).read_text("utf-8")
        changed = re.sub(pattern, replacement, whole)
        assert changed != whole
        (broken / name).write_text(changed, "utf-8")
    result = decide(evaluate(runner, classify(runner, 1, broken)), SPEC)
    assert result.verdict is Verdict.FAIL, result.reasons
    assert result.metrics["accuracy"] < most


@pytest.mark.timeout(240)
def test_promptflow_itself_gives_the_same_answers(runner, promptflow_python, url, tmp_path):
    """In a copy, because promptflow leaves files in a prompt flow's folder."""
    for folder in (FLOW, EVALUATION):
        shutil.copytree(folder, tmp_path / folder.name)
    (tmp_path / "pf.yaml").write_text("telemetry: {enabled: false}\ntrace: {destination: none}\n")
    env = {**os.environ, "HOME": str(tmp_path), "PF_HOME_DIRECTORY": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    env |= {"APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true", "PF_LOGGING_LEVEL": "ERROR"}
    argv = [promptflow_python, Path(__file__).with_name("web_classification_pf.py"), tmp_path / FLOW.name, url]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200)
    assert "REFERENCE" in done.stdout, done.stderr[-2000:]
    reference = json.loads(done.stdout.partition("REFERENCE")[2].splitlines()[0])
    ours = classify(runner, 1)
    assert reference["answers"] == [[ours[row["url"]]["category"], ours[row["url"]]["evidence"]] for row in ROWS]
    assert reference["metrics"] == evaluate(runner, ours).logged
