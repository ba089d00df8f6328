"""The row store: answers that were paid for once, by content key, in one sqlite file.

It holds completed rows only (and what follows from them: grades, aggregates, descriptions of flows), so it may be
deleted at any time at the price of running rows again. Several processes may use it at once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from orchestration.databases import holds_something, is_damage, read_only
from orchestration.errors import EvaluationBroken

FILE = "rows.sqlite"
FLUSH_SECONDS = 0.05  # what a kill -9 loses at most
BUSY_SECONDS = 30.0
CURE = "Check disk space and permissions, or remove it: only time is lost."
_MAX_VARIABLES = 500
_TABLE = "CREATE TABLE IF NOT EXISTS answers_1 (key TEXT PRIMARY KEY, value TEXT NOT NULL, at REAL NOT NULL)"
_INSERT = "INSERT OR REPLACE INTO answers_1 VALUES (?, ?, ?)"

_log = logging.getLogger(__name__)

Entry = tuple[str, str, float]
T = TypeVar("T")


class RowStore:
    """Answers by key. `say` gets a sentence when a damaged file was put aside; a new one takes its place.

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
            return self._or_anew(lambda: dict(_select(self._database, keys)))

    def put(self, key: str, value: Any) -> None:
        """Store a value within about `FLUSH_SECONDS`."""
        if self._failure is not None:
            raise self._failure
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="row store", daemon=True)
            self._writer.start()
        self._queue.put((key, json.dumps(value, separators=(",", ":")), time.time()))

    def forget_since(self, moment: float) -> None:
        """Remove what was stored from then on (seconds since the epoch)."""
        with self._explained(), self._lock, self._database:
            self._database.execute("DELETE FROM answers_1 WHERE at >= ?", (moment,))

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
                with self._explained(), self._lock:
                    self._or_anew(partial(self._write, [entry for entry in batch if entry is not None]))
            except EvaluationBroken as error:
                self._failure = error

    def _write(self, entries: Sequence[Entry]) -> None:
        with self._database:
            self._database.executemany(_INSERT, entries)

    def _or_anew(self, work: Callable[[], T]) -> T:
        """What `work` returns; done again on a new file if this one proves to be damaged."""
        try:
            return work()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
        self._database.close()
        self._put_aside()
        self._database = _connect(self.path)
        return work()

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(self.path)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
        self._put_aside()
        return _connect(self.path)

    def _put_aside(self) -> None:
        """Make room for a new file. Another process may do the same now, so look again under a lock."""
        from filelock import FileLock  # noqa: PLC0415 - costs start-up time

        with FileLock(f"{self.path}.lock"):
            if _is_sound(self.path):
                return
            aside = self.path.with_name(f"{FILE}.unreadable-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")
            self.path.rename(aside)
            for tail in ("-wal", "-shm"):
                self.path.with_name(FILE + tail).unlink(missing_ok=True)
            self._say(f"{self.path} is damaged; it is now {aside.name} and all rows run again.")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise EvaluationBroken(
                f"the row store {self.path} can't be used: {error}.",
                cure=CURE,
            ) from error


def look_up(folder: Path, keys: Sequence[str]) -> dict[str, Any]:
    """The stored values of those keys that have one, without creating or changing a file.

    Nothing if there is no store, or a damaged one, which the next evaluation puts aside. Raises `EvaluationBroken`
    if the file can't be read.
    """
    path = folder / FILE
    if not holds_something(path):
        return {}
    try:
        with contextlib.closing(read_only(path)) as database:
            return dict(_select(database, keys))
    except (sqlite3.Error, ValueError) as error:
        if isinstance(error, sqlite3.Error) and is_damage(error):
            return {}
        raise EvaluationBroken(f"the row store {path} can't be read: {error}.", cure=CURE) from error


def forget_since(folder: Path, moment: float) -> None:
    """Remove what was stored from then on (seconds since the epoch), whoever stored it: it only has to be run again."""
    store = RowStore(folder, say=_log.warning)
    try:
        store.forget_since(moment)
    finally:
        store.close()


def _select(database: sqlite3.Connection, keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for start in range(0, len(keys), _MAX_VARIABLES):
        some = keys[start : start + _MAX_VARIABLES]
        marks = ",".join("?" * len(some))
        query = f"SELECT key, value FROM answers_1 WHERE key IN ({marks})"  # noqa: S608 - marks only
        for key, value in database.execute(query, some):
            yield key, json.loads(value)


def _is_sound(path: Path) -> bool:
    try:
        with contextlib.closing(_connect(path)) as database:
            return bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error as error:
        return not is_damage(error)


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
