"""Decisions in a workspace's own MLflow, by MLflow's plain client: runs there, their documents in blob storage."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from azure_clients import SECRET, lead_to
from azure_emulator import Cloud, emulator
from azure_emulator.azurite import unavailable
from azure_emulator.faults import Status
from azure_emulator.machine_learning import Workspace, add_workspace
from tracking_samples import judged, make_evaluation, record

from orchestration import tracking
from orchestration.errors import ConfigurationError, NotAuthorized, PlatformError
from orchestration.platforms import open_store
from orchestration.platforms.azure import workspace
from orchestration.platforms.azure.tracking import rest_address
from orchestration.settings import Settings, load_settings
from orchestration.tracking import bearer
from orchestration.values import ReleaseEvent

pytestmark = pytest.mark.real
EVENT = ReleaseEvent("0" * 64, "traffic", "2026-11-20T10:00:00Z", "someone", {"weight": 10})


@pytest.fixture(scope="module")
def running() -> Iterator[Cloud]:
    """One cloud for all tests here: its MLflow server takes seconds to start. Each test has a workspace of its own."""
    if reason := unavailable():
        pytest.skip(reason)
    with emulator() as cloud:
        yield cloud


@pytest.fixture
def cloud(running: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    lead_to(running, monkeypatch)
    running.exchanges.clear()
    yield running
    assert (running.refused, running.unknown, running.crashes) == ([], [], [])


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the tokens of another."""
    monkeypatch.setattr(bearer, "_tokens", {})
    monkeypatch.setenv(bearer.VARIABLE, "")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    workspace._session.cache_clear()


@pytest.fixture
def place(cloud: Cloud) -> Workspace:
    return add_workspace(cloud)


@pytest.fixture
def settings(cloud: Cloud, place: Workspace, tmp_path: Path) -> Settings:
    """An environment whose workspace is that one."""
    application = cloud.directory.register(secret=SECRET)
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text("{}\n")
    credential = {
        "kind": "client_secret",
        "tenant_id": cloud.directory.tenant,
        "client_id": application.principal.client_id,
        "client_secret": {"file": "secret"},
    }
    azure = {
        "subscription_id": place.subscription_id,
        "resource_group": place.resource_group,
        "workspace": place.name,
        "credential": credential,
    }
    (tmp_path / "config" / "dev.yaml").write_text(json.dumps({"platform": "azure", "azure": azure}))
    return load_settings(tmp_path, "dev")


def urls(cloud: Cloud, host: str) -> list[str]:
    return [each.url for each in cloud.exchanges if urlsplit(each.url).hostname == host]


def test_a_decision_is_kept_in_the_workspace(cloud: Cloud, settings: Settings, place: Workspace) -> None:
    decision, evaluation = judged(make_evaluation()), make_evaluation()
    run_id = record(open_store(settings), decision, evaluation, params={f"p{n}": n for n in range(120)})

    workspace._session.cache_clear()  # another machine, another process
    store = open_store(settings)
    assert record(store, decision, evaluation) == run_id
    assert tracking.find_decision(store, decision.sha256) == (run_id, decision.document)
    assert tracking.holds(store, run_id, decision.sha256)
    [summary] = tracking.latest_decisions(store, prompt_flow="echo", environment="dev")
    assert (summary.run_id, summary.verdict, summary.decision) == (run_id, "PASS", decision.sha256)
    with tracking.store.connected(store, "look") as client:
        run = client.get_run(run_id)
    assert (run.info.status, run.data.metrics, len(run.data.params)) == ("FINISHED", {"accuracy": 1.0}, 120)
    tracking_host = f"{cloud.region}.api.azureml.ms"
    assert urls(cloud, tracking_host)
    assert all(place.id.lower() in url.lower() for url in urls(cloud, tracking_host))
    assert not list(Path(settings.state).rglob("*.db"))


def test_what_is_decided_on_the_same_basis_is_found_again(settings: Settings) -> None:
    basis, decision = "b" * 64, judged(make_evaluation())
    run_id = record(open_store(settings), decision, tags={tracking.BASIS_TAG: basis})
    found = tracking.find_recorded(open_store(settings), "echo", basis)
    assert found == (run_id, decision.document)
    assert tracking.find_recorded(open_store(settings), "echo", "c" * 64) is None
    assert tracking.find_recorded(open_store(settings), "never", basis) is None


def test_events_lie_beside_the_decision_in_their_order_and_need_no_mlflow(cloud: Cloud, settings: Settings) -> None:
    store, decision = open_store(settings), judged(make_evaluation())
    run_id = record(store, decision)
    assert tracking.events(store, run_id) == []
    before = len(urls(cloud, f"{cloud.region}.api.azureml.ms"))
    for weight in (10, 100):
        tracking.append_event(store, run_id, replace(EVENT, detail={"weight": weight}))
    assert [each.detail["weight"] for each in tracking.events(open_store(settings), run_id)] == [10, 100]
    assert len(urls(cloud, f"{cloud.region}.api.azureml.ms")) == before


def test_a_document_that_was_changed_or_removed_decides_nothing(settings: Settings) -> None:
    store, decision = open_store(settings), judged(make_evaluation())
    run_id = record(store, decision)
    assert store.documents is not None
    store.documents.write(run_id, {"decision.json": b'{"verdict":"PASS"}'})
    with pytest.raises(NotAuthorized):
        tracking.load_decision(store, run_id, sha256=decision.sha256)
    assert not tracking.holds(store, run_id, decision.sha256)
    with pytest.raises(PlatformError, match=r"holds no decision\.json"):
        tracking.load_decision(store, "another", sha256=decision.sha256)


def test_a_record_that_was_cut_off_is_finished_by_the_next(cloud: Cloud, settings: Settings, monkeypatch) -> None:
    store, decision = open_store(settings), judged(make_evaluation())
    documents = type(store.documents)

    def dies(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(documents, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            record(store, decision)
    assert tracking.latest_decisions(store, prompt_flow="echo", environment="dev") == []
    run_id = record(store, decision)
    [summary] = tracking.latest_decisions(store, prompt_flow="echo", environment="dev")
    assert summary.run_id == run_id
    assert tracking.holds(store, run_id, decision.sha256)


def test_what_azures_server_does_not_know_is_a_refusal_and_no_outage(settings: Settings) -> None:
    store = open_store(settings)
    record(store, judged(make_evaluation()))
    with pytest.raises(PlatformError, match="status is not supported") as refused:
        search_by_status(store)
    assert type(refused.value) is PlatformError


def search_by_status(store: tracking.Store) -> None:
    with tracking.store.connected(store, "search") as client:
        experiment = client.get_experiment_by_name("echo").experiment_id
        client.search_runs([experiment], "attributes.status = 'FINISHED'")


def test_the_workspace_is_asked_for_its_address_once(cloud: Cloud, settings: Settings, place: Workspace) -> None:
    for _ in range(3):
        assert open_store(settings).tracking_uri == f"https://{cloud.region}.api.azureml.ms/mlflow/v1.0{place.id}"
    assert sum(url.partition("?")[0].endswith(place.id) for url in urls(cloud, "management.azure.com")) == 1


def test_access_to_the_storage_that_expired_is_asked_for_anew(cloud: Cloud, settings: Settings) -> None:
    store, decision = open_store(settings), judged(make_evaluation())
    run_id = record(store, decision)
    assert store.documents is not None
    opened = store.documents._opened
    expired = Status(403, "AuthenticationFailed", "Signature not valid in the specified time frame.")
    cloud.scenario.fault("GET", "blob", expired)
    assert store.documents.read(run_id, "decision.json") is not None
    assert store.documents._opened is not opened


def test_no_token_is_stored_or_given_to_another_process(settings: Settings) -> None:
    store = open_store(settings)
    run_id = record(store, judged(make_evaluation()))
    assert store.token is not None
    token = store.token()
    assert token not in " ".join(os.environ.values())
    assert token not in repr(store)
    assert not any(token.encode() in path.read_bytes() for path in settings.root.rglob("*") if path.is_file())
    assert run_id


def test_another_server_is_used_as_it_is(settings: Settings) -> None:
    changed = load_settings(settings.root, "dev", command_line={"azure.tracking_uri": "http://127.0.0.1:1/"})
    store = open_store(changed)
    assert (store.tracking_uri, store.documents, store.token) == ("http://127.0.0.1:1", None, None)


def test_a_sign_in_that_fails_is_the_users_to_mend(cloud: Cloud, settings: Settings) -> None:
    (settings.root / "secret").write_text("another")
    with pytest.raises(ConfigurationError, match="AADSTS7000215"):
        open_store(settings)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (
            "azureml://r.api.azureml.ms/mlflow/v1.0/subscriptions/s?",
            "https://r.api.azureml.ms/mlflow/v1.0/subscriptions/s",
        ),
        ("https://r.api.azureml.ms/mlflow/v2.0/x/", "https://r.api.azureml.ms/mlflow/v2.0/x"),
    ],
)
def test_a_workspaces_address_for_the_plain_client(given: str, address: str) -> None:
    assert rest_address(given) == address


def test_a_workspace_without_mlflow() -> None:
    for given in ("", "None", "file:///mlruns"):
        with pytest.raises(PlatformError, match="names no MLflow server"):
            rest_address(given)
