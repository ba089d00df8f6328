"""The Python nodes of both named entity flows, and what the keyword baseline reaches with the prompt as it is and broken.

promptflow is not installed beside these tests, so its decorator `tool` and its `log_metric` are put in their places here;
test_named_entity_promptflow.py runs the same nodes with the real ones.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.embedded_model.chat import Message
from orchestration.embedded_model.tasks import reply

FLOWS = Path(__file__).parents[2] / "flows"
FLOW, EVALUATION = FLOWS / "named_entity_recognition", FLOWS / "named_entity_recognition_evaluation"
ROWS = [json.loads(line) for line in (FLOW / "data.jsonl").read_text(encoding="utf-8").splitlines()]
PROMPT = (FLOW / "NER_LLM.jinja2").read_text(encoding="utf-8")


def load(path):
    spec = importlib.util.spec_from_file_location(f"named_entity_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, path.stem)


@pytest.fixture(scope="module")
def nodes():
    core = ModuleType("promptflow.core")
    logged = {}
    core.tool, core.log_metric = (lambda function: function), logged.__setitem__
    names = {"promptflow": ModuleType("promptflow"), "promptflow.core": core}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in names.items():
            patch.setitem(sys.modules, name, module)
        yield SimpleNamespace(
            cleansing=load(FLOW / "cleansing.py"),
            grade=load(EVALUATION / "grade.py"),
            aggregate=load(EVALUATION / "aggregate.py"),
            logged=logged,
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Oslo\nParis", ["Oslo", "Paris"]),
        ("  Oslo \r\n\n Paris\t\nOslo", ["Oslo", "Paris"]),
        ("- Oslo\n* Paris\n• Rome\n1) Bonn", ["Oslo", "Paris", "Rome", "Bonn"]),
        ('"Oslo"\n“Paris”\n`Rome`', ["Oslo", "Paris", "Rome"]),
        ("March 5, 2024\n1. Januar 2024\n$1,250.00", ["March 5, 2024", "1. Januar 2024", "$1,250.00"]),
        ("O'Brien & Sons\nl'Isère", ["O'Brien & Sons", "l'Isère"]),
        ("None", []),
        ("none.", []),
        ("", []),
        (" \n ", []),
        ('"', ['"']),
    ],
)
def test_cleansing_makes_a_list_of_the_reply(nodes, text, expected):
    assert nodes.cleansing(text) == expected


@given(text=st.text())
def test_cleansing_takes_any_reply(nodes, text):
    entities = nodes.cleansing(text)
    assert len(set(entities)) == len(entities)
    assert all(entity in text and entity.strip() == entity != "" for entity in entities)


@pytest.mark.parametrize(
    ("entities", "truth", "expected"),
    [
        (["Oslo"], ["Oslo"], (1.0, 1, 1, 1)),
        (["Paris", "Oslo"], ["Oslo", "Paris"], (1.0, 2, 2, 2)),
        (["oslo."], ["Oslo"], (1.0, 1, 1, 1)),
        (["New  York"], ["New\u00a0York"], (1.0, 1, 1, 1)),
        ([], [], (1.0, 0, 0, 0)),
        ([], ["Oslo"], (0.0, 0, 0, 1)),
        (["Oslo"], [], (0.0, 0, 1, 0)),
        (["Oslo", "Rome"], ["Oslo", "Paris", "Bonn"], (0.0, 1, 2, 3)),
    ],
)
def test_a_row_is_graded_by_sets(nodes, entities, truth, expected):
    assert tuple(nodes.grade(entities, truth).values()) == expected


NAMES = st.lists(st.sampled_from(["Oslo", "oslo", "Paris", "Rome", "St. Paul", ""]), max_size=6)


@given(entities=NAMES, truth=NAMES)
def test_grades_are_consistent(nodes, entities, truth):
    row = nodes.grade(entities, truth)
    assert 0 <= row["matched"] <= min(row["found"], row["wanted"])
    assert (row["exact_match"] == 1.0) == (row["matched"] == row["found"] == row["wanted"])


def test_the_aggregation_logs_ratios_over_all_rows(nodes):
    grades = [nodes.grade(["a", "b"], ["a"]), nodes.grade(["c"], ["c"]), nodes.grade([], ["d"])]
    metrics = nodes.aggregate(grades)
    assert metrics == nodes.logged == {"accuracy": 0.3333, "precision": 0.6667, "recall": 0.6667}


def test_the_aggregation_of_nothing_is_nothing(nodes):
    assert nodes.aggregate([]) == {"accuracy": 0.0, "precision": 0.0, "recall": 0.0}


def accuracy(nodes, prompt):
    """Of the keyword baseline over the data with this prompt."""
    parts = re.split(r"^# (system|user):\n", prompt, flags=re.MULTILINE)[1:]
    templates = [(role, jinja2.Template(content)) for role, content in zip(parts[::2], parts[1::2], strict=True)]
    grades = []
    for row in ROWS:
        messages = [Message(role, template.render(row).strip()) for role, template in templates]
        grades.append(nodes.grade(nodes.cleansing(reply(messages)), row["entities"]))
    return nodes.aggregate(grades)["accuracy"]


def test_the_keyword_baseline_is_good_and_imperfect(nodes):
    assert 0.75 < accuracy(nodes, PROMPT) < 0.92


@pytest.mark.parametrize(
    ("part", "replacement"),
    [
        (PROMPT[: PROMPT.index("# user:")], ""),
        ("You extract named entities from a text.\nFind every entity", "Have a look at every thing"),
        ("Text: {{text}}\n", ""),
        ("{{entity_type}}", ""),
        (
            "one entity per line, in the order of the text, each of them once, with no numbering and no comment",
            "freely",
        ),
    ],
    ids=["no instructions", "no task", "no text", "no type", "no form"],
)
def test_a_broken_prompt_falls_below_the_gate(nodes, part, replacement):
    assert part in PROMPT
    assert accuracy(nodes, PROMPT.replace(part, replacement)) < 0.60
