"""The row store: several writers, crashes, damage."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.errors import EvaluationBroken
from orchestration.evaluation.row_store import FILE, RowStore, look_up
from orchestration.evaluation.rows import digest, store_keys


def opened(folder: Path, said: list[str] | None = None) -> RowStore:
    return RowStore(folder, say=(said if said is not None else []).append)


def test_what_was_put_is_there_for_the_next_process(tmp_path: Path):
    store = opened(tmp_path)
    store.put("a", {"output": {"x": "é😀\u2028", "n": [1, None, 2.5]}})
    store.put("a", {"output": "newer"})
    store.put("b", 7)
    store.close()
    assert opened(tmp_path).get(["a", "b", "c"]) == {"a": {"output": "newer"}, "b": 7}


def test_thousands_of_keys_at_once(tmp_path: Path):
    store = opened(tmp_path)
    keys = [f"k{i}" for i in range(5000)]
    for key in keys:
        store.put(key, key)
    store.close()
    assert opened(tmp_path).get([*keys, "none"]) == {key: key for key in keys}


def test_what_was_put_survives_a_kill_after_the_next_flush(tmp_path: Path):
    code = f"""
import os, signal, time
from pathlib import Path
from orchestration.evaluation.row_store import RowStore
folder = Path({str(tmp_path)!r})
store = RowStore(folder, say=print)
store.put("a", 1)
while not RowStore(folder, say=print).get(["a"]):
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert opened(tmp_path).get(["a"]) == {"a": 1}


def test_several_processes_write_at_once(tmp_path: Path):
    code = f"""
import sys
from pathlib import Path
from orchestration.evaluation.row_store import RowStore
for i in range(100):
    store = RowStore(Path({str(tmp_path)!r}), say=print)
    store.put(f"{{sys.argv[1]}}-{{i}}", i)
    store.close()
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(opened(tmp_path).get([f"{n}-{i}" for n in range(3) for i in range(100)])) == 300


def test_a_file_that_is_no_database_is_put_aside_and_said(tmp_path: Path):
    (tmp_path / FILE).write_text("this is no database, but it may be dear to somebody" * 100)
    said: list[str] = []
    store = opened(tmp_path, said)
    store.put("a", 1)
    store.close()
    assert opened(tmp_path).get(["a"]) == {"a": 1}
    aside = next(tmp_path.glob(f"{FILE}.unreadable-*"))
    assert aside.read_text().startswith("this is no database")
    assert aside.name in said[0]


KEYS = [f"k{i}" for i in range(2000)]


def damaged(folder: Path) -> Path:
    """A store of which only the beginning is left as it was."""
    store = opened(folder)
    for key in KEYS:
        store.put(key, "x" * 500)
    store.close()
    with sqlite3.connect(folder / FILE) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray((folder / FILE).read_bytes())
    content[8192:] = os.urandom(len(content) - 8192)
    (folder / FILE).write_bytes(content)
    return folder


def test_a_damaged_database_is_put_aside_when_it_is_read_and_said(tmp_path: Path):
    said: list[str] = []
    store = opened(damaged(tmp_path), said)
    assert store.get(KEYS) == {}
    store.put("a", 1)
    store.close()
    assert opened(tmp_path).get(["a", *KEYS]) == {"a": 1}
    assert len(list(tmp_path.glob(f"{FILE}.unreadable-*"))) == len(said) == 1
    assert "all rows run again" in said[0]


def test_a_damaged_database_loses_no_answer_that_comes_now(tmp_path: Path):
    said: list[str] = []
    store = opened(damaged(tmp_path), said)
    for key in KEYS:
        store.put(key, "new")
    store.close()
    assert opened(tmp_path).get(KEYS) == dict.fromkeys(KEYS, "new")
    assert len(said) == 1


def test_two_that_find_the_same_damage_share_one_new_file(tmp_path: Path):
    damaged(tmp_path)
    said: list[str] = []
    one, two = opened(tmp_path, said), opened(tmp_path, said)
    assert one.get(KEYS) == two.get(KEYS) == {}
    one.put("one", 1)
    two.put("two", 2)
    one.close()
    two.close()
    assert opened(tmp_path).get(["one", "two"]) == {"one": 1, "two": 2}
    assert len(said) == 1


@pytest.mark.parametrize("content", [b"", b"no database" * 500, b"SQLite format 3\0 cut short"])
def test_looking_takes_what_can_not_be_read_for_nothing_and_leaves_it(tmp_path: Path, content: bytes):
    (tmp_path / FILE).write_bytes(content)
    assert look_up(tmp_path, ["a"]) == {}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert (tmp_path / FILE).read_bytes() == content


def test_looking_into_a_damaged_store_finds_nothing(tmp_path: Path):
    assert look_up(damaged(tmp_path), KEYS) == {}
    assert not list(tmp_path.glob("*unreadable*"))


def test_a_place_that_can_not_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationBroken, match="can't be used"):
        opened(tmp_path / "file")


def test_a_failed_write_is_noticed_with_the_next_value_and_at_the_end(tmp_path: Path):
    store = opened(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("DROP TABLE answers_1")
    store.put("a", 1)
    store._writer.join()
    with pytest.raises(EvaluationBroken, match="no such table"):
        store.put("b", 2)
    with pytest.raises(EvaluationBroken, match="no such table"):
        store.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_keys_do_not_depend_on_the_order_of_columns(inputs):
    assert digest(inputs) == digest(dict(reversed(inputs.items())))


@given(st.lists(st.sampled_from([{"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {}]), max_size=12))
def test_keys_differ_within_one_evaluation_and_are_the_same_in_the_next(rows):
    keys = store_keys({"content": "c"}, rows)
    assert len(set(keys)) == len(rows)
    assert keys == store_keys({"content": "c"}, rows)
    assert not set(keys) & set(store_keys({"content": "d"}, rows))
