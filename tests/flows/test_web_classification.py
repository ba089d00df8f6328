"""The shipped prompt flow `web_classification`: its nodes, its data, its prompts."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from ruamel.yaml import YAML

from orchestration.specs import PromptFlowSpec

FLOW = Path(__file__).parents[2] / "flows" / "web_classification"
EVALUATION = FLOW.with_name("web_classification_evaluation")
ROWS = [json.loads(line) for line in (FLOW / "data.jsonl").read_text("utf-8").splitlines()]
CATEGORIES = {"Movie", "App", "Academic", "Channel", "Profile", "News", "Shop", "Other"}


@pytest.fixture
def load(monkeypatch):
    """Import a module of the prompt flow. promptflow isn't installed here: its decorator stands in as doing nothing."""
    core = ModuleType("promptflow.core")
    core.tool = lambda function: function
    core.logged = {}
    core.log_metric = core.logged.__setitem__
    monkeypatch.setitem(sys.modules, "promptflow", ModuleType("promptflow"))
    monkeypatch.setitem(sys.modules, "promptflow.core", core)
    monkeypatch.syspath_prepend(str(FLOW))
    monkeypatch.syspath_prepend(str(EVALUATION))

    def load_module(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        module = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
        return module

    return load_module


@pytest.fixture
def page(load):
    return load("web_page")


def test_a_snapshot_is_read_without_any_request(load):
    assert load("fetch_text").fetch_text("http://127.0.0.1:9/", "<p>kept</p>") == "kept"


# --- the other nodes


@pytest.mark.parametrize(
    ("reply", "category", "evidence"),
    [
        ('{"category": "App", "evidence": "Both"}', "App", "Both"),
        ('Sure!\n```json\n{"category": "News", "evidence": "Url"}\n```', "News", "Url"),
        ('{"category": "Shop"}', "Shop", "None"),
        ('{"category": null, "evidence": ""}', "Unknown", "None"),
        ("It is a shop.", "Unknown", "None"),
        ("{not json}", "Unknown", "None"),
        ("", "Unknown", "None"),
    ],
)
def test_a_reply_becomes_data_whatever_stands_around_it(load, reply, category, evidence):
    assert load("convert").convert(reply) == {"category": category, "evidence": evidence}


def test_examples_show_each_category_once_and_are_no_rows_of_the_data(load):
    examples = load("prepare_examples").prepare_examples()
    assert Counter(example["category"] for example in examples) == Counter(CATEGORIES)
    assert not {example["url"] for example in examples} & {row["url"] for row in ROWS}


def test_grades_and_their_mean(load):
    grade, aggregate = load("grade").grade, load("calculate_accuracy").calculate_accuracy
    assert [grade("App", " app"), grade("App", "Shop"), grade("App", "Unknown")] == [
        "Correct",
        "Incorrect",
        "Incorrect",
    ]
    assert aggregate(["Correct", "Correct", "Incorrect"]) == 0.67
    assert sys.modules["promptflow.core"].logged == {"accuracy": 0.67}


# --- data and specification


def test_the_data_has_enough_rows_of_every_category():
    assert len(ROWS) >= 120
    counts = Counter(row["category"] for row in ROWS)
    assert counts.keys() == CATEGORIES
    assert min(counts.values()) >= 10
    assert len({row["url"] for row in ROWS}) == len({row["snapshot"] for row in ROWS}) == len(ROWS)


def test_every_row_is_a_page_of_a_host_that_cannot_exist(page):
    for row in ROWS:
        assert re.match(r"https://[\w.-]+\.example/", row["url"]), row["url"]
        assert 400 <= len(row["snapshot"]) <= 1500, row["url"]
        assert len(page.text_of(row["snapshot"])) > 100, row["url"]
        assert row["clarity"] in {"plain", "mixed"}


@pytest.mark.parametrize("variant", [0, 1])
def test_each_prompt_names_every_category(variant):
    prompt = (FLOW / f"classify_variant_{variant}.jinja2").read_text("utf-8")
    assert all(re.search(rf"\b{category}\b", prompt) for category in CATEGORIES)


def test_sluice_yaml_fits_its_schema():
    spec = PromptFlowSpec.model_validate(
        json.loads(json.dumps(YAML(typ="safe").load(FLOW / "sluice.yaml"))), strict=False
    )
    assert (spec.key, spec.gate.min_rows, spec.gate.rules[0].above) == ("url", 100, 0.6)
    assert all(name in row for row in ROWS for name in spec.slices)
