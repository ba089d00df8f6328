"""The examples on the pages are right: settings load, the whole example passes its gate, the output is what is printed."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from doc_pages import ROOT, Block, page, pages

from orchestration import gate
from orchestration.connections import descriptions, upstreams
from orchestration.evaluation.engine import evaluate, run_row
from orchestration.settings import bind, load_settings
from orchestration.specs import Gate, Metric, PromptFlowSpec, Rule, Sample
from orchestration.steps import prepare
from orchestration.steps.evaluate import evaluation_job
from orchestration.steps.report import release_text
from orchestration.values import Outcome, Release, Request, Status, Verdict

GUID = "00000000-0000-4000-8000-000000000001"
BLOCKS = [(each.name, block) for each in pages() for block in each.blocks]
SETTINGS = [pytest.param(block, id=name) for name, block in BLOCKS if block.file.startswith("config/")]
PYTHON = [pytest.param(block, id=name) for name, block in BLOCKS if block.language == "python"]


def project(folder: Path, *files: Block) -> Path:
    """A project with the shipped base settings and the files of a page."""
    for name in ("config/base.yaml", "config/local.yaml", "runtime/frameworks.toml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for block in files:
        (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.file).write_text(block.text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("block", SETTINGS)
def test_settings_load_and_every_connection_resolves(block: Block, tmp_path: Path) -> None:
    settings = load_settings(project(tmp_path, block), Path(block.file).stem)
    names = tuple(settings.connections)
    spec = PromptFlowSpec(gate=Gate(), sample=Sample(inputs={}, answer={}), connections=names)
    env = dict.fromkeys(re.findall(r"\{env: (\w+)\}", block.text), "https://resource.openai.azure.com")
    env |= {name: GUID for name in env if name.endswith("_ID")}
    binding = bind(settings, spec, env=env)
    assert upstreams(settings, binding, env=env).keys() | descriptions(settings, binding, env=env).keys() == set(names)


def test_there_are_settings_to_check() -> None:
    assert len(SETTINGS) > 5


def test_commented_examples_in_the_base_settings_load(tmp_path: Path) -> None:
    base = (ROOT / "config" / "base.yaml").read_text()
    entries = re.findall(r"^#     aoai:\n(?:#       .*\n)+", base, re.MULTILINE)
    assert len(entries) == 3
    for entry in entries:
        text = "connections:\n" + "".join(line.removeprefix("#   ") + "\n" for line in entry.splitlines())
        load_settings(project(tmp_path, Block("yaml", text, "config/dev.yaml")), "dev")


@pytest.mark.parametrize("block", PYTHON)
def test_python_compiles_and_names_what_blocks_have(block: Block) -> None:
    tree = ast.parse(block.text)
    classes = ast.parse((ROOT / "blocks" / "__init__.py").read_text()).body
    fields = {
        each.name: {item.target.id for item in each.body if isinstance(item, ast.AnnAssign)}  # type: ignore[union-attr]
        for each in classes
        if isinstance(each, ast.ClassDef)
    }
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        if call.func.id in fields:  # type: ignore[attr-defined]
            assert {keyword.arg for keyword in call.keywords} <= fields[call.func.id]  # type: ignore[attr-defined]


def test_the_complete_example_passes_its_gate_with_the_numbers_that_the_page_says(tmp_path: Path) -> None:
    text = page("docs/own-prompt-flow.md")
    root = project(tmp_path, *(block for block in text.blocks if block.file.startswith("flows/")))
    work = prepare.take(Request("ticket_priority", "local"), root=root)
    python = Path(sys.executable)
    job = evaluation_job(work, prepare.Runtimes(python, python))
    runner = {"PYTHONPATH": str(ROOT / "runtime")}
    assert job.evaluator is not None
    job = replace(job, flow=replace(job.flow, environment=runner), evaluator=replace(job.evaluator, environment=runner))
    result = gate.decide(evaluate(job), work.spec, work.settings.gate)
    assert result.verdict is Verdict.PASS, result.reasons
    said = re.search(r"says `PASS`, (accuracy [^)]+\))", text.text)
    assert said
    assert result.reasons[0].startswith(said[1])
    answer = run_row(job, work.spec.sample.inputs)
    assert answer.status is Status.COMPLETED
    jsonschema.validate(answer.output, work.spec.sample.answer)


def test_every_key_of_sluice_yaml_is_described() -> None:
    section = page("docs/own-prompt-flow.md").section("## `sluice.yaml`")
    names = [*PromptFlowSpec.model_fields.keys() - {"metrics", "gate", "sample"}, *Rule.model_fields]
    names += [f"metrics.<name>.{field.alias or name}" for name, field in Metric.model_fields.items()]
    names += [f"gate.{name}" for name in Gate.model_fields] + [f"sample.{name}" for name in Sample.model_fields]
    for name in names:
        assert re.search(rf"[`.]{re.escape(name)}`", section), name


def test_the_readme_shows_what_a_run_prints() -> None:
    release = Release(
        prompt_flow="named_entity_recognition",
        environment="local",
        commit="b3b0fc45",
        outcome=Outcome.RELEASED,
        verdict=Verdict.PASS,
        reasons=(
            "accuracy 0.88 (240 of 273) is above 0.60.",
            "precision 0.97 (288 of 297) is at least 0.70.",
            "p95_seconds 0.22 is below 20.00.",
        ),
        metrics={
            "failed_ratio": 0.0,
            "p95_seconds": 0.2166,
            "tokens_per_row": 134.34065934065933,
            "cost_per_row": None,
            "accuracy": 0.8791208791208791,
            "precision": 0.9696969696969697,
            "recall": 0.8944099378881988,
        },
        rows={"expected": 273, "completed": 273, "failed": 0, "cached": 0},
        model={"name": "named_entity_recognition", "version": "1"},
        endpoint={"name": "named-entity-recognition-local", "traffic": {"d2d8f1c0e31-efe912": 100}},
        seconds={"evaluate": 6.3, "register": 1.3, "deploy": 3.3, "total": 10.8},
    )
    assert release_text(release) in page("README.md").text
