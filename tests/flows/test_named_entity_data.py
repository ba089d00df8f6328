"""The data of the named entity flow, and that its files agree with each other."""

import json
from collections import Counter
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from orchestration.specs import PromptFlowSpec

FLOWS = Path(__file__).parents[2] / "flows"
FLOW, EVALUATION = FLOWS / "named_entity_recognition", FLOWS / "named_entity_recognition_evaluation"
ROWS = [json.loads(line) for line in (FLOW / "data.jsonl").read_text(encoding="utf-8").splitlines()]


def load(path):
    return YAML(typ="safe").load(path)


SPEC = PromptFlowSpec.model_validate_json(json.dumps(load(FLOW / "sluice.yaml")))


def test_there_are_enough_rows_each_with_its_own_id():
    assert len(ROWS) >= 200
    assert len({row["id"] for row in ROWS}) == len(ROWS)


def test_every_row_has_the_same_fields_and_types():
    for row in ROWS:
        assert {name: type(value) for name, value in row.items()} == {
            "id": str, "text": str, "entity_type": str, "entities": list, "language": str, "source": str,
        }  # fmt: skip
        assert row["text"].strip() == row["text"] != ""


def test_a_question_is_asked_once():
    assert len({(row["text"], row["entity_type"]) for row in ROWS}) == len(ROWS)


def test_the_truth_stands_in_the_text_in_its_order_and_each_once():
    for row in ROWS:
        places = [row["text"].find(entity) for entity in row["entities"]]
        assert -1 not in places, row["id"]
        assert places == sorted(places), row["id"]
        assert len(set(row["entities"])) == len(row["entities"])
        assert all(entity == entity.strip() != "" for entity in row["entities"])


def test_about_an_eighth_of_the_rows_has_no_entity_of_the_type():
    empty = sum(not row["entities"] for row in ROWS) / len(ROWS)
    assert 0.09 <= empty <= 0.15


@pytest.mark.parametrize(("name", "least"), [("entity_type", 7), ("language", 15), ("source", 6)])
def test_every_slice_has_several_values_of_some_size(name, least):
    counts = Counter(row[name] for row in ROWS)
    assert name in SPEC.slices
    assert len(counts) >= least
    assert sum(count >= 10 for count in counts.values()) >= 2


def test_texts_are_varied():
    texts = [row["text"] for row in ROWS]
    assert len(set(texts)) >= len(ROWS) / 2.5
    assert max(map(len, texts)) > 500
    assert min(map(len, texts)) < 40
    openings = Counter(" ".join(text.split()[:2]) for text in set(texts))
    assert openings.most_common(1)[0][1] <= 3
    scripts = {ord(char) >> 8 for text in texts for char in text if char.isalpha()}
    assert {0x04, 0x03, 0x06, 0x09, 0x30, 0xAC} <= scripts


def test_the_runs_map_existing_columns_to_existing_inputs():
    for run, flow in ((FLOW / "run.yml", FLOW), (FLOW / "run_evaluation.yml", EVALUATION)):
        described = load(run)
        assert (FLOW / described["flow"]).resolve() == flow
        inputs = load(flow / "flow.dag.yaml")["inputs"]
        assert set(described["column_mapping"]) == set(inputs)
        for source in described["column_mapping"].values():
            root, _, column = source.strip("${}").rpartition(".")
            columns = ROWS[0] if root == "data" else load(FLOW / "flow.dag.yaml")["outputs"]
            assert column in columns


def test_metrics_name_outputs_of_the_evaluation():
    outputs = load(EVALUATION / "flow.dag.yaml")["outputs"]
    for metric in SPEC.metrics.values():
        assert metric.column in outputs
        assert metric.over is None or metric.over in outputs
    assert SPEC.key == "id"
    assert len(ROWS) >= SPEC.gate.min_rows


def test_the_sample_asks_what_the_flow_takes_and_its_answer_is_a_schema():
    assert set(SPEC.sample.inputs) == set(load(FLOW / "flow.dag.yaml")["inputs"])
    jsonschema.Draft202012Validator.check_schema(SPEC.sample.answer)
    jsonschema.validate({"entities": ["Leeds", "Lisbon"]}, SPEC.sample.answer)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"entities": []}, SPEC.sample.answer)
