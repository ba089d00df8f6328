"""The row store: answers that were paid for once, by content key, in one sqlite file.

It holds completed rows only (and what follows from them: grades, aggregates, descriptions of flows), so it may be
deleted at any time at the price of running rows again. Several processes may use it at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestration.errors import EvaluationBroken

FILE = "rows.sqlite"
FLUSH_SECONDS = 0.05  # what a kill -9 loses at most
BUSY_SECONDS = 30.0
_MAX_VARIABLES = 500
_TABLE = "CREATE TABLE IF NOT EXISTS answers_1 (key TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL)"
_INSERT = "INSERT OR REPLACE INTO answers_1 VALUES (?, ?, ?)"

Entry = tuple[str, str, float]


class RowStore:
    """Answers by key. `say` gets a sentence when an unusable file was put aside.

    Values are written by a thread of the store's own, many in one transaction. Raises `EvaluationBroken` when the
    file can't be opened, read or written; for a write that is with the next `put`, or with `close`.
    """

    def __init__(self, folder: Path, *, say: Callable[[str], None]) -> None:
        self.path = folder / FILE
        self._say = say
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._writer: threading.Thread | None = None
        self._failure: EvaluationBroken | None = None
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            self._database = self._open()

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The stored values of those keys that have one."""
        with self._explained(), self._lock:
            return dict(_select(self._database, keys))

    def put(self, key: str, value: Any) -> None:
        """Store a value within about `FLUSH_SECONDS`."""
        if self._failure is not None:
            raise self._failure
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="row store", daemon=True)
            self._writer.start()
        self._queue.put((key, json.dumps(value, separators=(",", ":")), time.time()))

    def close(self) -> None:
        """Write what waits and close the file."""
        self._closing.set()
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
        self._database.close()
        if self._failure is not None:
            raise self._failure

    def _write_all(self) -> None:
        """The writer thread: wait for a value and a little longer, then write all that has come."""
        ended = False
        while not ended and self._failure is None:
            batch = [self._queue.get()]
            self._closing.wait(FLUSH_SECONDS)
            while not self._queue.empty():
                batch.append(self._queue.get())
            ended = None in batch
            try:
                with self._explained(), self._lock, self._database:
                    self._database.executemany(_INSERT, [entry for entry in batch if entry is not None])
            except EvaluationBroken as error:
                self._failure = error

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self.path)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") != "SQLITE_NOTADB":
                raise
        self._put_aside()
        return _connect(self.path)

    def _put_aside(self) -> None:
        """Make room for a new file. Another process may do the same now, so look again under a lock."""
        from filelock import FileLock  # noqa: PLC0415 - costs start-up time

        with FileLock(f"{self.path}.lock"):
            try:
                _connect(self.path).close()
            except sqlite3.DatabaseError:
                aside = self.path.with_name(f"{FILE}.unreadable-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")
                self.path.rename(aside)
                for tail in ("-wal", "-shm"):
                    self.path.with_name(FILE + tail).unlink(missing_ok=True)
                self._say(f"{self.path} is no database; it is now {aside.name} and all rows run again.")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise EvaluationBroken(
                f"the row store {self.path} can't be used: {error}.",
                cure="Check disk space and permissions; if it is damaged, remove it: only time is lost.",
            ) from error


def look_up(folder: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The stored values of those keys that have one, without creating or changing a file; none if there is no store.

    Raises `EvaluationBroken` if the file can't be read.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    # Without a journal nobody writes, and `immutable` keeps sqlite from making one; with it, its files are there already.
    mode = "mode=ro" if path.with_name(f"{FILE}-wal").exists() else "immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)) as database:
            return dict(_select(database, keys))
    except (sqlite3.Error, ValueError) as error:
        raise EvaluationBroken(f"the row store {path} can't be read: {error}.") from error


def _select(database: sqlite3.Connection, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for start in range(0, len(keys), _MAX_VARIABLES):
        some = keys[start : start + _MAX_VARIABLES]
        marks = ",".join("?" * len(some))
        query = f"SELECT key, value FROM answers_1 WHERE key IN ({marks})"  # noqa: S608 - marks only
        for key, value in database.execute(query, some):
            yield key, json.loads(value)


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_TABLE)
        database.commit()
    except sqlite3.Error:
        database.close()
        raise
    return database
