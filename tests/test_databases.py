"""Damaged sqlite files are told from sound, new and busy ones, and none is changed by looking."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from orchestration.databases import damage, holds_something, read_only


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.executemany("INSERT INTO t VALUES (?)", [("y" * 100,)] * 500)
    connection.close()
    return path


def test_a_sound_one_a_missing_one_and_an_empty_one_are_fine(database: Path) -> None:
    empty = database.with_name("empty.db")
    empty.touch()
    assert (damage(database), holds_something(database)) == ("", True)
    assert (damage(empty), holds_something(empty)) == ("", False)
    assert (damage(empty.with_name("none.db")), holds_something(empty / "below")) == ("", False)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"nothing that sqlite knows" * 100, "not a database"), (b"SQLite format 3\0" + b"\xff" * 5000, "not a database")],
)
def test_garbage_is_named(database: Path, content: bytes, said: str) -> None:
    database.write_bytes(content)
    assert said in damage(database)


def test_one_that_was_cut_short_is_named(database: Path) -> None:
    os.truncate(database, 4096 + 100)
    assert "malformed" in damage(database)


def test_one_that_somebody_writes_to_is_fine(database: Path) -> None:
    with sqlite3.connect(database) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert damage(database) == ""


def test_looking_leaves_no_file_behind(database: Path) -> None:
    with sqlite3.connect(database) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
    writer.close()
    read_only(database).close()
    assert damage(database) == ""
    assert [path.name for path in database.parent.iterdir()] == [database.name]
