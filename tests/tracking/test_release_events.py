import pytest
from tracking_samples import record

from orchestration import tracking
from orchestration.errors import PlatformError
from orchestration.values import ReleaseEvent


def event(kind="registered", **detail):
    return ReleaseEvent("d" * 64, kind, "2026-11-20T10:00:00Z", "someone", detail)


def test_events_come_back_in_the_order_of_appending(store):
    run_id = record(store)
    appended = [event(kind, n=n) for n, kind in enumerate(["registered", "traffic", "rolled-back", "a/b é"])]
    for each in appended:
        tracking.append_event(store, run_id, each)
    assert tracking.events(store, run_id) == appended


def test_equal_events_are_all_kept(store):
    run_id = record(store)
    for _ in range(3):
        tracking.append_event(store, run_id, event())
    assert tracking.events(store, run_id) == [event()] * 3


def test_a_run_without_events_has_none(store):
    assert tracking.events(store, record(store)) == []


def test_half_written_events_are_not_read_and_broken_ones_are_named(store):
    run_id = record(store)
    tracking.append_event(store, run_id, event())
    folder = tracking.decision_path(store, run_id).parent / "events"
    (folder / ".artifact.uploading.x.json").write_text("{")
    assert len(tracking.events(store, run_id)) == 1
    (folder / "20270101T000000.000000000Z-odd-abcdef.json").write_text('{"kind": 1}')
    with pytest.raises(PlatformError, match="odd-abcdef"):
        tracking.events(store, run_id)
