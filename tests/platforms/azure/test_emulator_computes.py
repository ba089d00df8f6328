"""Computes of a workspace and their long-running operations, by azure-ai-ml's own client."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure_clients import WORKSPACE, WORKSPACE_TYPE, studio
from azure_emulator import Cloud
from azure_emulator.faults import OperationFails, OperationNeverEnds
from azure_emulator.kinds import Kind

SECONDS = 240.0
IDENTITY = f"{WORKSPACE.split('/providers')[0]}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"
COMPUTE = f"{WORKSPACE}/computes/ci1"


@pytest.fixture(autouse=True)
def workspace(cloud: Cloud) -> None:
    cloud.arm.kind(WORKSPACE_TYPE, Kind())
    cloud.arm.seed(WORKSPACE, {"location": "westeurope", "properties": {"provisioningState": "Succeeded"}})


def instance(name: str = "ci1"):
    from azure.ai.ml.entities import ComputeInstance, IdentityConfiguration, ManagedIdentityConfiguration

    identity = IdentityConfiguration(
        type="UserAssigned", user_assigned_identities=[ManagedIdentityConfiguration(resource_id=IDENTITY)]
    )
    return ComputeInstance(name=name, size="Standard_DS1_v2", identity=identity, tags={"sluice": "1"})


def eventually(true: Callable[[], bool]) -> bool:
    """Whether it becomes true within seconds of real time: of the SDK's own threads."""
    end = time.monotonic() + 10
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return true()


def state(cloud: Cloud) -> str:
    shown = cloud.see(COMPUTE)
    return shown["properties"]["provisioningState"] if shown else "absent"


def test_an_instance_is_created_and_removed_by_the_clock(cloud: Cloud) -> None:
    computes = studio(cloud).compute
    poller = computes.begin_create_or_update(instance())
    assert (state(cloud), computes.get("ci1").provisioning_state) == ("Creating", "Creating")
    assert cloud.see(COMPUTE)["properties"]["properties"]["state"] is None
    cloud.clock.sleep(SECONDS - 1)
    assert not poller.done()
    cloud.clock.sleep(1)
    assert computes.get("ci1").state == "Running"
    assert poller.result(10).name == "ci1"
    body = cloud.see(COMPUTE)
    assert body["tags"] == {"sluice": "1"}
    assert list(body["identity"]["userAssignedIdentities"]) == [IDENTITY]
    gone = computes.begin_delete("ci1")
    assert (state(cloud), gone.done()) == ("Deleting", False)
    cloud.clock.sleep(cloud.scenario.duration("DELETE", "computes"))
    assert gone.result(10) is None
    assert eventually(gone.done)
    with pytest.raises(ResourceNotFoundError):
        computes.get("ci1")


def test_the_answers_carry_the_published_headers(cloud: Cloud) -> None:
    computes = studio(cloud).compute
    computes.begin_create_or_update(instance())
    cloud.clock.sleep(SECONDS)
    computes.begin_delete("ci1")
    put, delete = (next(each for each in cloud.exchanges if each.method == method) for method in ("PUT", "DELETE"))
    assert put.status == 201
    assert "/computeOperationsStatus/" in put.response_headers["Azure-AsyncOperation"]
    assert {"Location", "Retry-After"}.isdisjoint(put.response_headers)
    assert delete.status == 202
    assert {"Azure-AsyncOperation", "Location"} <= set(delete.response_headers)
    assert "underlyingResourceAction=Delete" in delete.url


def test_a_removal_without_its_query_parameter_is_refused(cloud: Cloud) -> None:
    import requests
    from azure_clients import bearer

    cloud.arm.seed(COMPUTE, {"properties": {"computeType": "ComputeInstance"}})
    address = f"https://management.azure.com{COMPUTE}?api-version=2023-08-01-preview"
    answer = requests.delete(address, headers=bearer(cloud), timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BadRequest")
    assert "underlyingResourceAction" in answer.text


@pytest.mark.parametrize("code", ["QuotaExceeded", ""])
def test_a_failed_creation_says_why_and_leaves_a_failed_instance(cloud: Cloud, code: str) -> None:
    cloud.scenario.fault("PUT", "computes", OperationFails(code, "No cores left."))
    computes = studio(cloud).compute
    poller = computes.begin_create_or_update(instance())
    cloud.clock.sleep(SECONDS)
    with pytest.raises(HttpResponseError, match=rf"\({code or 'None'}\) No cores left\."):
        poller.result(10)
    assert computes.get("ci1").provisioning_state == "Failed"
    error = cloud.see(COMPUTE)["properties"]["provisioningErrors"][0]["error"]
    assert error == {**({"code": code} if code else {}), "message": "No cores left."}


def test_an_operation_that_never_ends_can_be_waited_for_only_with_a_deadline(cloud: Cloud) -> None:
    cloud.scenario.fault("PUT", "computes", OperationNeverEnds())
    poller = studio(cloud).compute.begin_create_or_update(instance())
    cloud.clock.sleep(1e9)
    poller.wait(0.3)
    assert (poller.done(), state(cloud)) == (False, "Creating")


def test_a_second_write_while_the_first_is_under_way_is_a_conflict(cloud: Cloud) -> None:
    computes = studio(cloud).compute
    computes.begin_create_or_update(instance())
    with pytest.raises(ResourceExistsError, match="another operation on same entity"):
        computes.begin_create_or_update(instance())
    with pytest.raises(ResourceExistsError, match="another operation on same entity"):
        computes.begin_delete("ci1")


@pytest.mark.parametrize("name", ["no_underscores", "ci-1", "ci"])
def test_a_bad_name_is_refused(cloud: Cloud, name: str) -> None:
    with pytest.raises(HttpResponseError, match="InvalidComputeName"):
        studio(cloud).compute.begin_create_or_update(instance(name))


def test_a_workspace_that_is_not_there_is_named(cloud: Cloud) -> None:
    cloud.arm.resources.clear()
    with pytest.raises(ResourceNotFoundError, match="workspaces/studio"):
        studio(cloud).compute.get("ci1")


def test_when_the_cloud_ends_the_sdks_pollers_end_first(cloud: Cloud) -> None:
    poller = studio(cloud).compute.begin_create_or_update(instance())
    assert eventually(lambda: any("OperationsStatus" in each.url for each in cloud.exchanges))
    cloud.call(cloud._finish())
    with pytest.raises(HttpResponseError, match="OperationCanceled"):
        poller.result(10)
