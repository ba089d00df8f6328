"""Data files: every way to be wrong has a line number and a cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.errors import ConfigurationError
from orchestration.evaluation.data import Line, load_lines
from orchestration.evaluation.mapping import ColumnMapping, Reference
from orchestration.evaluation.rows import make_rows

TEXT = ColumnMapping({"text": Reference("data", "text")}, {})


def write(folder: Path, content: bytes) -> Path:
    path = folder / "data.jsonl"
    path.write_bytes(content)
    return path


def test_lines_are_counted_with_the_empty_ones(tmp_path: Path):
    path = write(tmp_path, b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"a": "\xe2\x80\xa8x"}')
    assert load_lines(path) == (Line(1, {"a": 1}), Line(4, {"a": "\u2028x"}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "data.jsonl: the data is empty"),
        (b"\n \n", "data.jsonl: the data is empty"),
        (b'{"a": 1}\n{"a": \n', "data.jsonl:2: broken JSON"),
        (b'{"a": 1}\n[1]\n', "data.jsonl:2: a JSON array instead of an object"),
        (b"null\n", "data.jsonl:1: a JSON null instead of an object"),
        (b'{"a": NaN}\n', "data.jsonl:1: broken JSON: NaN is no JSON number"),
        (b'{"a": 12345678901234567890}\n', "data.jsonl:1: holds what JSON can't carry safely"),
        (b'{"a": "\\ud800"}\n', "data.jsonl:1: holds what JSON can't carry safely"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "data.jsonl:2: not UTF-8"),
        (b'{"a": ' + b"[" * 100_000, "data.jsonl:1: broken JSON"),
    ],
)
def test_what_is_no_data_is_refused_with_its_line(tmp_path: Path, content: bytes, said: str):
    with pytest.raises(ConfigurationError) as refused:
        load_lines(write(tmp_path, content), shown_as="data.jsonl")
    assert str(refused.value).startswith(said)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"flows/x/data.jsonl: the data can't be read: No such file"):
        load_lines(tmp_path / "none", shown_as="flows/x/data.jsonl")


def test_rows_take_their_name_from_the_key_column():
    lines = [Line(1, {"id": 7, "text": "a"}), Line(3, {"id": "x", "text": "b"})]
    assert [(r.key, r.line, r.inputs) for r in make_rows(lines, TEXT, "id", "d")] == [
        ("7", 1, {"text": "a"}),
        ("x", 3, {"text": "b"}),
    ]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([{"id": "a"}, {"id": "a"}], "d:2:id: the key 'a' stands on line 1 too"),
        ([{"id": 1}, {"id": "1"}], "d:2:id: the key '1' stands on line 1 too"),
        ([{}], "d:1:id: the row has no key"),
        ([{"id": ""}], "d:1:id: the row has no key"),
        ([{"id": [1]}], "d:1:id: the row has a key that is neither text nor a whole number"),
        ([{"id": True}], "d:1:id: the row has a key that is neither text nor a whole number"),
    ],
)
def test_keys_that_name_no_row_are_refused(records, said):
    lines = [Line(n, {"text": "t", **record}) for n, record in enumerate(records, start=1)]
    with pytest.raises(ConfigurationError) as refused:
        make_rows(lines, TEXT, "id", "d")
    assert str(refused.value).startswith(said)


def test_without_a_key_column_rows_are_named_by_their_inputs():
    one, other, same = make_rows(
        [Line(1, {"text": "a"}), Line(2, {"text": "b"}), Line(3, {"text": "a", "label": 1})], TEXT, None, "d"
    )
    assert one.key != other.key
    assert same.key == f"{one.key}-2"
