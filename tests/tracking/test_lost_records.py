"""Parts of the ledger that were removed or written over: what can't be relied on any more is never taken for a record."""

from __future__ import annotations

import os
import shutil
import time

import pytest
from tracking_samples import judged, make_evaluation, record, run_python

from orchestration import tracking
from orchestration.errors import PlatformError
from orchestration.tracking import peek
from orchestration.tracking.store import connected

BASIS = "b" * 64


@pytest.fixture
def kept(store):
    """Run and name of a recorded decision."""
    decision = judged(make_evaluation())
    return record(store, decision, tags={tracking.BASIS_TAG: BASIS}), decision.sha256


def found(store, hint=None):
    known = tracking.find_recorded(store, "echo", BASIS, hint=hint)
    return None if known is None else known.run_id


def record_again(store):
    """Record the same decision at a later time; by a process of its own, since MLflow keeps files open that are gone."""
    code = (
        "import sys; from pathlib import Path; from tracking_samples import judged, make_evaluation, record;"
        "from orchestration import tracking; decision = judged(make_evaluation(), made_at='2026-11-21T10:00:00Z');"
        "tags = {tracking.BASIS_TAG: sys.argv[2]};"
        "print(record(tracking.local_store(Path(sys.argv[1])), decision, tags=tags), decision.sha256)"
    )
    printed, _ = run_python(code, store.database.parents[1], BASIS)
    return tuple(printed.split())


def lose_the_document(store, run_id):
    tracking.decision_path(store, run_id).unlink()


def change_the_document(store, run_id):
    path = tracking.decision_path(store, run_id)
    path.write_bytes(path.read_bytes().replace(b"PASS", b"FAIL"))


def lose_the_artifacts(store, run_id):
    shutil.rmtree(store.folder.parent)


def lose_everything(store, run_id):
    shutil.rmtree(store.database.parent)


def lose_the_database(store, run_id):
    store.database.unlink()


def empty_the_database(store, run_id):
    os.truncate(store.database, 0)


def delete_the_run(store, run_id):
    with connected(store, "delete") as client:
        client.delete_run(run_id)


LOSSES = [
    lose_the_document,
    change_the_document,
    lose_the_artifacts,
    lose_everything,
    lose_the_database,
    empty_the_database,
    delete_the_run,
]


def test_what_is_whole_is_found_by_hint_and_by_basis(store, kept):
    assert tracking.holds(store, *kept)
    assert found(store) == found(store, kept) == found(store, ("another", "0" * 64)) == kept[0]
    assert not tracking.holds(store, kept[0], "0" * 64)
    assert tracking.find_recorded(store, "echo", "c" * 64) is None


@pytest.mark.parametrize("lose", LOSSES)
def test_what_was_lost_is_not_relied_on_and_recorded_anew(store, kept, lose, caplog):
    lose(store, kept[0])
    assert not tracking.holds(store, *kept)
    assert found(store) is None
    assert found(store, kept) is None
    again = record_again(store)
    assert tracking.holds(store, *again)
    assert found(store, again) == again[0]
    if lose in (lose_the_document, change_the_document):
        assert kept[1][:12] in caplog.text


def test_a_lost_database_leaves_no_journal_for_the_next(store, kept):
    store.database.unlink()
    journal = store.database.with_name(f"{store.database.name}-journal")
    journal.write_bytes(b"of another database")
    assert tracking.holds(store, *record_again(store))
    assert not journal.exists()


@pytest.mark.parametrize("content", [b"no database at all" * 300, b"SQLite format 3\0" + b"\xff" * 4096])
def test_garbage_instead_of_the_database_is_named_at_once(store, kept, content):
    store.database.write_bytes(content)
    assert not peek.knows_run(store, kept[0])
    began = time.monotonic()
    for use in (
        lambda: record(store),
        lambda: tracking.find_basis(store, "echo", BASIS),
        lambda: tracking.latest_decisions(store, prompt_flow="echo", environment="dev"),
        lambda: tracking.check_store(store),
    ):
        with pytest.raises(PlatformError) as raised:
            use()
        assert str(store.database) in raised.value.message
        assert "move it away" in raised.value.cure
        assert len(str(raised.value).splitlines()) == 1
    assert time.monotonic() - began < 20  # MLflow alone would try for minutes


def test_looking_needs_no_mlflow_and_changes_nothing(store, kept):
    before = {path: path.stat().st_mtime_ns for path in store.database.parent.rglob("*")}
    code = (
        "import sys; from pathlib import Path; from orchestration import tracking;"
        "state, run, sha, basis = sys.argv[1:]; store = tracking.local_store(Path(state));"
        "print(tracking.holds(store, run, sha), tracking.find_recorded(store, 'echo', basis, hint=(run, sha)).run_id == run,"
        "'mlflow' in sys.modules)"
    )
    printed, _ = run_python(code, store.database.parents[1], *kept, BASIS)
    assert printed.split() == ["True", "True", "False"]
    assert {path: path.stat().st_mtime_ns for path in store.database.parent.rglob("*")} == before


def test_tables_of_another_mlflow_are_a_no(store, kept):
    import sqlite3

    with sqlite3.connect(store.database) as database:
        database.execute("ALTER TABLE runs RENAME COLUMN lifecycle_stage TO stage")
    assert not peek.knows_run(store, kept[0])
