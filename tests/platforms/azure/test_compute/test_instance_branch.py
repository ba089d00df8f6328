"""The branch of the Prefect flow that evaluates on an instance: whatever fails, nothing is left and the cause is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from azure_clients import lead_to
from azure_emulator import Cloud, RealClock, emulator
from azure_emulator.computes import COMPUTE_TYPE
from azure_emulator.entra import IDENTITY_TYPE
from azure_emulator.faults import OperationFails, Status
from azure_emulator.identities import ASSIGNMENT_TYPE
from azure_emulator.prompt_flow import FlowRuntimes
from cloud_world import CloudRun
from release_project import ReleaseProject, release_project

from orchestration.errors import ProvisioningFailed

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
SPEED = 600.0


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """A Prefect server of its own."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness():
        yield


@pytest.fixture
def project(server: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ReleaseProject]:
    """A project on a cloud whose clock goes on by itself: tasks take the real one."""
    with emulator(clock=RealClock(SPEED)) as cloud:
        lead_to(cloud, monkeypatch)
        yield release_project(tmp_path / "project", cloud)


def left(cloud: Cloud, project: ReleaseProject) -> list[str]:
    found = [each.id.path for each in cloud.arm.resources.values() if each.id.type in (IDENTITY_TYPE, ASSIGNMENT_TYPE)]
    found += [each.id.path for each in cloud.arm.resources.values() if each.id.type == COMPUTE_TYPE]
    return found + cloud.of(FlowRuntimes).names(project.workspace.id)


@pytest.mark.parametrize(
    ("method", "kind", "message"),
    [
        ("PUT", "computes", "No cores left"),
        ("POST", "flowRuntimes", "No image"),
    ],
)
def test_a_failure_is_told_and_everything_is_removed(
    project: ReleaseProject, method: str, kind: str, message: str
) -> None:
    from orchestration.prefect_flows.evaluate_subflow import evaluate

    run = CloudRun(project, more="poll_seconds: 0.05")
    project.cloud.scenario.fault(method, kind, OperationFails("QuotaExceeded", message))
    with pytest.raises(ProvisioningFailed, match=message):
        evaluate(run.work)
    assert left(project.cloud, project) == []


def test_a_removal_that_fails_does_not_hide_the_cause(
    project: ReleaseProject, caplog: pytest.LogCaptureFixture
) -> None:
    from orchestration.prefect_flows.evaluate_subflow import evaluate

    run = CloudRun(project, more="poll_seconds: 0.05")
    project.cloud.scenario.fault("POST", "flowRuntimes", OperationFails("X", "No image"))
    project.cloud.scenario.fault("DELETE", "computes", Status(403, "AuthorizationFailed", "Not you."), times=9)
    with pytest.raises(ProvisioningFailed, match="No image"):
        evaluate(run.work)
    assert ["/computes/" in path for path in left(project.cloud, project)] == [True]
    assert "could not all be removed: Not all of sluice-r" in caplog.text
