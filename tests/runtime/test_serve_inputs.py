from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from runner_fixture import RUNTIME

sys.path.insert(0, str(RUNTIME))
from sluice_runner.serve_inputs import SCHEMA_TYPES, BadInput, coerce, openapi

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
PYTHON = {"int": int, "double": float, "bool": bool, "string": str, "list": list}


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("int", "3", 3),
        ("int", 3.7, 3),
        ("double", "1.5", 1.5),
        ("bool", "True", True),
        ("bool", False, False),
        ("string", 12, "12"),
        ("list", "[1, 2]", [1, 2]),
        ("object", '{"a": 1}', {"a": 1}),
        ("object", "plain text", "plain text"),
        ("image", {"data": 1}, {"data": 1}),
    ],
)
def test_values_become_their_declared_type(kind: str, given: Any, expected: Any) -> None:
    assert coerce({"x": given}, {"x": {"type": kind}}) == {"x": expected}


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("int", "three"),
        ("int", None),
        ("int", 1e400),
        ("double", []),
        ("bool", "yes"),
        ("bool", 1),
        ("list", "{}"),
        ("list", 3),
    ],
)
def test_what_cannot_is_refused_with_the_name_of_the_input(kind: str, given: Any) -> None:
    with pytest.raises(BadInput, match="input x must be") as refused:
        coerce({"x": given}, {"x": {"type": kind}})
    assert refused.value.code == "BadInput"


@settings(deadline=None)
@given(JSON, st.sampled_from([*SCHEMA_TYPES, "image"]))
def test_any_value_is_either_of_its_type_or_refused(value: Any, kind: str) -> None:
    try:
        turned = coerce({"x": value}, {"x": {"type": kind}})["x"]
    except BadInput:
        event("refused")
    else:
        assert isinstance(turned, PYTHON.get(kind, object))


def test_missing_inputs_are_all_named() -> None:
    declared = {"a": {"type": "int"}, "b": {"type": "int", "default": 1}, "c": {"type": "int"}}
    with pytest.raises(BadInput, match="missing input: a, c") as refused:
        coerce({}, declared)
    assert refused.value.code == "MissingInput"


def test_undeclared_inputs_pass() -> None:
    assert coerce({"more": 1}, {}) == {"more": 1}


def test_the_description_names_types_defaults_and_what_is_required() -> None:
    inputs = {"text": {"type": "string"}, "n": {"type": "int", "default": 3}, "rows": {"type": "list"}}
    score = openapi("blue", inputs, {"label": {"type": "object"}})["paths"]["/score"]["post"]
    schema = score["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["text", "rows"]
    assert schema["properties"]["n"] == {"type": "integer", "default": 3}
    assert schema["properties"]["rows"] == {"type": "array", "items": {}}
    answer = score["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["properties"] == {"label": {"type": "object"}}
    json.dumps(score)
