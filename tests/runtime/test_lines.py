"""Lines over pipes, and values as JSON."""

from __future__ import annotations

import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_fixture import RUNTIME

sys.path.insert(0, str(RUNTIME))
from sluice_runner.lines import LineReader, OutBuffer, encode, plain

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_arrive_whole_however_they_are_cut(lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    read, write = os.pipe()
    reader, got = LineReader(read), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        os.write(write, stream[start:end])
        got += reader.drain()
    os.close(write)
    assert reader.read() == ([], True)
    os.close(read)
    assert got == lines


def test_buffer_never_blocks_and_loses_nothing():
    read, write = os.pipe()
    out = OutBuffer(write)
    sent = [bytes([n % 256]) * 100_000 for n in range(10)]
    for piece in sent:
        out.put(piece)
        out.flush()
    assert out
    got = b""
    while len(got) < 1_000_000:
        got += os.read(read, 1 << 20)
        out.flush()
    assert not out
    assert got == b"".join(sent)
    os.close(read)
    out.put(b"x")
    with pytest.raises(BrokenPipeError):
        out.flush()
    os.close(write)


@given(ANYTHING)
def test_anything_can_be_shown_as_plain_json(value):
    json.loads(encode({"value": plain(value)}))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_json_values_stay_as_they_are(value):
    assert plain(value) == value


def test_numbers_that_json_cannot_hold():
    assert plain([float("nan"), float("inf"), float("-inf")]) == ["NaN", "Infinity", "-Infinity"]


class Scalar:
    def tolist(self):
        return 0.5


def test_array_libraries_give_their_own_plain_form():
    assert plain({"x": Scalar()}) == {"x": 0.5}


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), {"x": b""}])
def test_encode_refuses_what_is_no_json_value(value):
    with pytest.raises((TypeError, ValueError)):
        encode({"value": value})
