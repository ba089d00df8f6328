"""sqlite files of a project: whether one can be read at all, asked before a library is that would say so late or badly."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

DAMAGE = ("SQLITE_NOTADB", "SQLITE_CORRUPT")
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")


def damage(path: Path) -> str:
    """Why the database can't be read; empty if it can, or if there is none yet. Changes nothing."""
    if not holds_something(path):
        return ""
    try:
        with contextlib.closing(read_only(path)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        return "" if _name(error).startswith(BUSY) else str(error)
    return ""


def holds_something(path: Path) -> bool:
    """Whether the file is there and not empty: sqlite takes an empty one for a new database."""
    try:
        return path.stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault: it is no database, or one that was cut short or written over."""
    return _name(error).startswith(DAMAGE)


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that neither creates nor changes a file. Raises `sqlite3.Error`."""
    # Without a journal nobody writes, and `immutable` keeps sqlite from making one; with it, its files are there already.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", ""))
