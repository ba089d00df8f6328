"""The same functions against an MLflow server: nothing leans on the store being a local database."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from tracking_samples import judged, make_evaluation, record

from orchestration import tracking
from orchestration.errors import PlatformError, PlatformUnavailable
from orchestration.polling import every, wait_until
from orchestration.values import ReleaseEvent

pytestmark = pytest.mark.real


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(url):
    try:
        return urllib.request.urlopen(f"{url}/health", timeout=2).status == 200 or None
    except OSError:
        return None


@pytest.fixture
def remote_store(tmp_path, fresh_database):
    database = tmp_path / "server.db"
    database.write_bytes(fresh_database.read_bytes())
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    command += ["--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(tmp_path / "kept")]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [*command, "--workers", "1"], cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_until(lambda: answers(url), what="the MLflow server", timeout_seconds=90, wait=every(0.2))
        yield tracking.Store(url, "", tmp_path / "lock")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


def test_a_remote_store_works_like_a_local_one(remote_store, tmp_path):
    store, decision = remote_store, judged(make_evaluation())
    run_id = record(store, decision, params={f"p{n}": n for n in range(150)})
    assert record(store, decision) == run_id
    assert tracking.find_decision(store, decision.sha256) == (run_id, decision.document)
    assert [s.run_id for s in tracking.latest_decisions(store, prompt_flow="echo", environment="dev")] == [run_id]
    assert tracking.events(store, run_id) == []
    event = ReleaseEvent(decision.sha256, "traffic", "2026-11-20T10:00:00Z", "someone", {"weight": 10})
    tracking.append_event(store, run_id, event)
    tracking.append_event(store, run_id, event)
    assert tracking.events(store, run_id) == [event, event]
    with pytest.raises(PlatformError, match="not on this machine"):
        tracking.decision_path(store, run_id)


def test_a_server_that_is_gone_is_worth_another_attempt(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    gone = tracking.Store(f"http://127.0.0.1:{free_port()}", "", tmp_path / "lock")
    with pytest.raises(PlatformUnavailable, match="Could not find the decision"):
        tracking.find_decision(gone, "0" * 64)
