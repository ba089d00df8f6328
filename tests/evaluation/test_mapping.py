"""Column mappings: promptflow's rules, checked before anything is spent."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.errors import ConfigurationError, Place
from orchestration.evaluation.data import Line
from orchestration.evaluation.description import Description
from orchestration.evaluation.job import Subject
from orchestration.evaluation.mapping import evaluator_mapping, flow_mapping

LINES = [Line(1, {"text": "a", "truth": "A"}), Line(2, {"text": "b", "truth": "B"})]


def description(**inputs):
    return Description("promptflow", "dag", inputs, {}, aggregation=False)


def subject(mapping, **places):
    return Subject(Path(), Path(), "c", mapping=mapping, places=places)


def apply(mapping, inputs, *, outputs=None, record=LINES[0].record):
    return flow_mapping(subject(mapping), inputs, LINES, "data.jsonl").apply(record, outputs)


def grade(mapping, inputs, outputs, declared=("answer",)):
    checked = evaluator_mapping(subject(mapping), inputs, LINES, "data.jsonl", declared)
    return checked.apply(LINES[0].record, outputs)


def test_references_and_literals():
    inputs = description(a={"type": "string"}, b={"type": "int"}, c={"type": "string"}, d={"type": "string"})
    mapping = {"a": "${data.text}", "b": 3, "c": "plain", "d": "say ${data.text}"}
    assert apply(mapping, inputs) == {"a": "a", "b": 3, "c": "plain", "d": "say ${data.text}"}


def test_unmapped_inputs_take_the_column_of_their_name_unless_they_have_a_default():
    inputs = description(text={"type": "string"}, truth={"type": "string", "default": "none"})
    assert apply(None, inputs) == {"text": "a"}
    assert apply({"truth": "${data.truth}"}, inputs) == {"text": "a", "truth": "A"}


def test_a_flow_that_declares_no_inputs_gets_all_columns_or_what_is_mapped():
    assert apply(None, description()) == {"text": "a", "truth": "A"}
    assert apply({"x": "${data.text}"}, description()) == {"x": "a"}


def test_an_evaluator_sees_data_inputs_and_outputs():
    inputs = description(answer={}, question={}, truth={})
    mapping = {"answer": "${run.outputs.answer}", "question": "${run.inputs.text}"}
    assert grade(mapping, inputs, {"answer": "x"}) == {"answer": "x", "question": "a", "truth": "A"}


def test_columns_may_have_dots():
    lines = [Line(1, {"a.b": 5})]
    mapping = flow_mapping(subject({"x": "${data.a.b}"}), description(x={}), lines, "d")
    assert mapping.apply(lines[0].record) == {"x": 5}


def test_an_output_that_a_row_lacks_is_named():
    with pytest.raises(KeyError, match=r"\$\{run.outputs.maybe\}"):
        grade({"answer": "${run.outputs.maybe}"}, description(answer={}), {"answer": 1}, declared=())


@pytest.mark.parametrize(
    ("mapping", "inputs", "said"),
    [
        (
            {"text": "${data.txt}"},
            {"text": {}},
            "run.yml:4:column_mapping.text: ${data.txt} names no column of the data data.jsonl. Its columns: text, truth.",
        ),
        (
            {"text": "${run.outputs.answer}"},
            {"text": {}},
            "run.yml:4:column_mapping.text: ${run.outputs.answer} refers to nothing. Possible here: ${data.<column>}.",
        ),
        (
            {"text": "x", "txet": "${data.text}"},
            {"text": {}},
            "run.yml:column_mapping.txet: the flow has no input txet. Its inputs: text.",
        ),
        (
            None,
            {"question": {}},
            "run.yml:column_mapping.question: input question has no mapping, no default, and no column of its name",
        ),
    ],
)
def test_what_can_not_work_is_refused_with_file_line_and_key(mapping, inputs, said):
    place = Place("run.yml", 4, "column_mapping.text")
    with pytest.raises(ConfigurationError) as refused:
        flow_mapping(subject(mapping, text=place), description(**inputs), LINES, "data.jsonl")
    assert str(refused.value).startswith(said)


def test_an_undeclared_output_is_refused_before_the_first_row():
    with pytest.raises(ConfigurationError, match=r"the prompt flow has no output anwser .* Its outputs: answer."):
        grade({"answer": "${run.outputs.anwser}"}, description(answer={}), {})


def test_a_column_that_some_rows_lack_is_refused_with_the_first_such_line():
    lines = [*LINES, Line(5, {"truth": "C"})]
    with pytest.raises(ConfigurationError, match=r"data.jsonl:5: this row has no column text, which input text takes"):
        flow_mapping(subject(None), description(text={}), lines, "data.jsonl")
