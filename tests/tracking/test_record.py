import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracking_samples import judged, make_evaluation, record, run_python

from orchestration import tracking
from orchestration.decisions import table_lines
from orchestration.errors import EvaluationBroken, NotAuthorized, PlatformError
from orchestration.tracking.record import _name
from orchestration.tracking.store import connected
from orchestration.values import canonical


def artifacts(store, run_id):
    return tracking.decision_path(store, run_id).parent


def stored_run(store, run_id):
    with connected(store, "look") as client:
        return client.get_run(run_id)


def test_a_recorded_decision_is_found_by_its_hash(store):
    decision = judged(make_evaluation())
    run_id = record(store, decision)
    assert tracking.find_decision(store, decision.sha256) == (run_id, decision.document)
    assert tracking.load_decision(store, run_id, sha256=decision.sha256) == decision.document


def test_the_run_holds_the_evidence(store):
    evaluation = make_evaluation()
    decision = judged(evaluation, metrics={"accuracy": 0.5, "unknown": None})
    run_id = record(store, decision, evaluation, params={"row/limit": 3, "long": "x" * 900})
    run = stored_run(store, run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"accuracy": 0.5}
    assert run.data.params["row_limit"] == "3"
    assert len(run.data.params["long"]) == 500
    assert run.data.tags["sluice.decision"] == decision.sha256
    assert run.data.tags["sluice.commit"] == "f" * 40
    folder = artifacts(store, run_id)
    assert (folder / "decision.json").read_bytes() == canonical(decision.document)
    assert (folder / "table.jsonl").read_bytes() == table_lines(evaluation)


def test_the_same_decision_is_recorded_once(store):
    decision = judged(make_evaluation())
    assert record(store, decision, params={"p": 1}) == record(store, decision, params={"p": 2})
    assert len(tracking.latest_decisions(store, prompt_flow="echo", environment="dev")) == 1


def test_what_a_killed_process_began_is_finished(store):
    decision = judged(make_evaluation())
    with connected(store, "begin") as client:
        experiment = client.create_experiment("echo", artifact_location=store.artifact_root)
        begun = client.create_run(experiment, tags={"sluice.decision": decision.sha256}).info.run_id
        client.log_param(begun, "p", "1")
        client.log_text(begun, "{", "decision.json")
    assert tracking.find_decision(store, decision.sha256) is None
    assert record(store, decision, params={"p": 2, "q": 3}) == begun
    assert tracking.find_decision(store, decision.sha256) == (begun, decision.document)
    assert stored_run(store, begun).data.params == {"p": "1", "q": "3"}


def test_a_changed_document_is_refused(store):
    decision = judged(make_evaluation())
    run_id = record(store, decision)
    path = tracking.decision_path(store, run_id)
    path.write_bytes(path.read_bytes().replace(b"PASS", b"FAIL"))
    with pytest.raises(NotAuthorized, match="was changed"):
        tracking.find_decision(store, decision.sha256)
    path.unlink()
    with pytest.raises(PlatformError, match="has no document"):
        tracking.load_decision(store, run_id, sha256=decision.sha256)


def test_a_decision_on_another_table_is_refused(store):
    decision = judged(make_evaluation(("a", "b")))
    with pytest.raises(EvaluationBroken, match="graded table"):
        record(store, decision, make_evaluation(("a", "c")))
    assert tracking.latest_decisions(store, prompt_flow="echo", environment="dev") == []


def test_history_is_newest_first_and_of_one_environment(store):
    evaluation = make_evaluation()
    made = [judged(evaluation, made_at=f"2026-11-20T10:00:0{n}Z") for n in range(3)]
    for decision in made:
        record(store, decision, evaluation)
    record(store, judged(evaluation, environment="qa"), evaluation, environment="qa")
    found = tracking.latest_decisions(store, prompt_flow="echo", environment="dev", limit=2)
    assert len(found) == 2
    assert {each.decision for each in found} <= {each.sha256 for each in made}
    assert found[0].recorded_at >= found[1].recorded_at
    assert found[0].verdict == "PASS"
    assert [each.tags["sluice.environment"] for each in found] == ["dev", "dev"]


def test_the_newest_decision_on_a_basis_is_found(store):
    evaluation, basis = make_evaluation(), {tracking.BASIS_TAG: "b" * 64}
    assert tracking.find_basis(store, "echo", "b" * 64) is None
    record(store, judged(evaluation), evaluation)
    assert tracking.find_basis(store, "echo", "b" * 64) is None
    decision = judged(evaluation, made_at="2026-11-21T10:00:00Z")
    run_id = record(store, decision, evaluation, tags=basis)
    assert tracking.find_basis(store, "echo", "b" * 64) == (run_id, decision.sha256)
    assert tracking.find_basis(store, "other", "b" * 64) is None


def test_an_unused_store_is_empty_and_stays_so(tmp_path):
    store = tracking.local_store(tmp_path / "state")
    assert tracking.find_decision(store, "0" * 64) is None
    assert tracking.latest_decisions(store, prompt_flow="echo", environment="dev") == []
    assert not (tmp_path / "state").exists()


def test_two_stores_in_one_process_do_not_mix(store, tmp_path, fresh_database):
    other = tracking.local_store(tmp_path / "other #2")
    other.database.parent.mkdir(parents=True)
    other.database.write_bytes(fresh_database.read_bytes())
    evaluation = make_evaluation()
    here, there = judged(evaluation), judged(evaluation, environment="qa")
    record(store, here, evaluation)
    record(other, there, evaluation, environment="qa")
    assert tracking.find_decision(store, there.sha256) is None
    assert tracking.find_decision(other, here.sha256) is None
    assert tracking.find_decision(other, there.sha256) is not None


def test_a_moved_state_folder_is_named(store, tmp_path):
    record(store)
    store.database.parents[1].rename(tmp_path / "moved")
    moved = tracking.local_store(tmp_path / "moved")
    decision = judged(make_evaluation(), made_at="2026-11-21T10:00:00Z")
    with pytest.raises(PlatformError, match="was moved"):
        record(moved, decision)


def test_a_deleted_experiment_is_named_with_the_cure(store):
    record(store)
    with connected(store, "delete") as client:
        client.delete_experiment(client.get_experiment_by_name("echo").experiment_id)
    with pytest.raises(PlatformError, match="experiments restore"):
        record(store)


def test_a_database_of_another_mlflow_is_named(store):
    import sqlite3

    with sqlite3.connect(store.database) as database:
        database.execute("update alembic_version set version_num = '0000'")
    with pytest.raises(PlatformError, match="db upgrade"):
        record(store)


@pytest.mark.parametrize("run_id", ["../../x", "", "a/b"])
def test_a_run_id_leads_nowhere_else(store, run_id):
    with pytest.raises(PlatformError, match="id of a run"):
        tracking.load_decision(store, run_id, sha256="0" * 64)


def test_first_use_is_silent_and_writes_only_below_the_state_folder(tmp_path):
    home, cwd = tmp_path / "home", tmp_path / "cwd"
    home.mkdir()
    cwd.mkdir()
    code = (
        "import sys; from pathlib import Path; from tracking_samples import record;"
        "from orchestration import tracking; record(tracking.local_store(Path(sys.argv[1])))"
    )
    assert run_python(code, tmp_path / "state", cwd=cwd, home=home) == ("", "")
    assert list(home.iterdir()) == list(cwd.iterdir()) == []
    left = {path.name for path in (tmp_path / "state" / "mlflow").iterdir()}
    assert left == {".lock", "mlflow.db", "artifacts"}


def test_telemetry_is_off(tmp_path):
    code = (
        "import sys; from pathlib import Path; from orchestration import tracking;"
        "from orchestration.tracking.store import connected\n"
        "with connected(tracking.local_store(Path(sys.argv[1])), 'look'): pass\n"
        "from mlflow.telemetry import get_telemetry_client; print(get_telemetry_client())"
    )
    environment_free = "import os; [os.environ.pop(n, 0) for n in ('CI', 'PYTEST_CURRENT_TEST')];"
    assert run_python(environment_free + code, tmp_path)[0].strip() == "None"


def test_reading_a_decision_and_its_events_needs_no_mlflow(store):
    decision = judged(make_evaluation())
    run_id = record(store, decision)
    code = (
        "import sys, json; from pathlib import Path; from orchestration import tracking;"
        "from orchestration.platforms.local.registry import LocalRegistry;"
        "state, run, sha = sys.argv[1:]; store = tracking.local_store(Path(state)); LocalRegistry(Path(state));"
        "verdict = tracking.load_decision(store, run, sha256=sha)['verdict'];"
        "print(json.dumps([verdict, tracking.events(store, run), 'mlflow' in sys.modules]))"
    )
    printed, _ = run_python(code, store.database.parents[1], run_id, decision.sha256)
    assert json.loads(printed) == ["PASS", [], False]


def test_metrics_that_are_no_number_are_left_out(store):
    from dataclasses import replace

    decision = replace(judged(make_evaluation()), metrics={"nan": math.nan, "inf": math.inf, "a/b?": 1.5})
    assert stored_run(store, record(store, decision)).data.metrics == {"a_b_": 1.5}


@given(st.text(max_size=400))
def test_any_name_becomes_one_that_mlflow_takes(name):
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    _validate_metric_name(_name(name))
    _validate_param_name(_name(name))


RACERS = """
import multiprocessing, os, sys
from pathlib import Path
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow, mlflow.store.tracking.sqlalchemy_store
from tracking_samples import record
from orchestration import tracking

def race(store, start, runs):
    start.wait()
    runs.put(record(store))

context = multiprocessing.get_context("fork")  # what is slow, importing MLflow, happens once
start, runs = context.Barrier(8), context.Queue()
store = tracking.local_store(Path(sys.argv[1]))
racers = [context.Process(target=race, args=(store, start, runs)) for _ in range(8)]
for racer in racers:
    racer.start()
for racer in racers:
    racer.join()
print(*{runs.get() for _ in racers})
"""


@pytest.mark.real
def test_processes_that_record_the_same_decision_at_once_share_one_run(tmp_path):
    run_id, errors = run_python(RACERS, tmp_path / "state")
    assert errors == ""
    store = tracking.local_store(tmp_path / "state")
    found = tracking.latest_decisions(store, prompt_flow="echo", environment="dev")
    assert [each.run_id for each in found] == run_id.split()
