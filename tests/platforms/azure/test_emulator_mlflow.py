"""The tracking servers of emulated workspaces, by MLflow's own client."""

from __future__ import annotations

import pytest
import requests
from azure_clients import bearer
from azure_emulator import Cloud
from azure_emulator.faults import Status
from azure_emulator.machine_learning import Workspace, add_workspace

pytestmark = pytest.mark.real


def address(workspace: Workspace) -> str:
    return f"https://{workspace.region}.api.azureml.ms/mlflow/v1.0{workspace.id}"


@pytest.fixture
def token(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> str:
    """The token that MLflow's client sends."""
    found = bearer(cloud)["Authorization"].removeprefix("Bearer ")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", found)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return found


def test_runs_of_one_workspace_are_not_seen_in_another(cloud: Cloud, token: str) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    first, second = (MlflowClient(address(add_workspace(cloud, name=name))) for name in ("first", "second"))
    experiment = first.create_experiment("gate")
    run = first.create_run(experiment, tags={"verdict": "PASS"})
    first.log_metric(run.info.run_id, "accuracy", 0.75)
    first.log_param(run.info.run_id, "commit", "c0ffee")
    first.set_terminated(run.info.run_id)
    (found,) = first.search_runs([experiment], "tags.verdict = 'PASS' and metrics.accuracy > 0.6")
    assert (found.data.params, found.info.status) == ({"commit": "c0ffee"}, "FINISHED")
    assert second.get_experiment_by_name("gate") is None
    with pytest.raises(MlflowException):
        second.get_run(run.info.run_id)
    # As on Azure, artifacts lie where only Azure's own plugin can write.
    assert run.info.artifact_uri.startswith("azureml://")
    with pytest.raises(MlflowException, match="artifact repository"):
        first.log_text(run.info.run_id, "text", "file.txt")
    second.create_experiment("gate")


def test_only_those_with_a_token_are_heard_and_only_of_workspaces_that_are_there(cloud: Cloud, token: str) -> None:
    workspace = add_workspace(cloud)
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    assert requests.get(f"{address(workspace)}{path}", timeout=60).status_code == 401
    headers = {"Authorization": f"Bearer {token}"}
    cloud.scenario.fault("GET", "tracking", Status(503, "Busy", "Busy."))
    assert requests.get(f"{address(workspace)}{path}", headers=headers, timeout=60).status_code == 503
    newer = f"{address(workspace)}/api/3.0/mlflow/traces"
    assert requests.get(newer, headers=headers, timeout=60).status_code == 404
    nowhere = address(workspace).replace(f"/{workspace.name}", "/nobody")
    assert requests.get(f"{nowhere}{path}", headers=headers, timeout=60).status_code == 501
    cloud.unknown.clear()
