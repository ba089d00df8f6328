"""FlowRuntimes of the emulated prompt flow service: their states by the clock, and how they say no."""

from __future__ import annotations

from pathlib import Path

import pytest
import spec_check
from azure_emulator import Cloud
from azure_emulator.faults import Delay, OperationFails, OperationNeverEnds, StaleRead, Status
from azure_emulator.prompt_flow import State
from prompt_flow_calls import INSTANCE, NEW, Calls

SECONDS = 300.0


@pytest.fixture
def calls(cloud: Cloud) -> Calls:
    return Calls(cloud)


def test_a_runtime_starts_is_ready_and_is_removed_by_the_clock(calls: Calls, cloud: Cloud) -> None:
    created = calls.create()
    assert (created["runtimeName"], created["status"], created["computeInstanceName"]) == ("rt1", "Starting", "ci1")
    cloud.clock.sleep(SECONDS - 1)
    assert calls.status() == "Starting"
    cloud.clock.sleep(1)
    ready = calls.body("GET", "FlowRuntimes/rt1")
    assert "status" not in ready
    assert ready["runtimeType"] == "ComputeInstance"
    assert [each["runtimeName"] for each in calls.body("GET", "FlowRuntimes")] == ["rt1"]
    assert calls.body("DELETE", "FlowRuntimes/rt1?asyncCall=true")["status"] == "Stopping"
    assert calls.status() == "Stopping"
    cloud.clock.sleep(30)
    assert calls.code("GET", "FlowRuntimes/rt1") == (404, "RuntimeNotFound")
    assert calls.code("DELETE", "FlowRuntimes/rt1") == (404, "RuntimeNotFound")
    assert calls.body("GET", "FlowRuntimes") == []
    assert calls.create()["status"] == "Starting"


def test_without_asynccall_the_answer_comes_when_it_is_ready(calls: Calls, cloud: Cloud) -> None:
    assert "status" not in calls.body("POST", "FlowRuntimes/rt1", NEW)
    assert cloud.clock.now() == SECONDS


def test_the_studios_own_address_leads_to_the_same(calls: Calls) -> None:
    calls.create()
    assert calls.status(host="ml.azure.com", service="api/westeurope/flow/api") == "Starting"


def test_a_status_can_be_scripted(calls: Calls, cloud: Cloud) -> None:
    calls.runtimes.plays("rt1", State("NotExist", 10), State("Unavailable", 20), State("Starting", 30), State())
    calls.create()
    seen = []
    for _ in range(7):
        seen.append(calls.status())
        cloud.clock.sleep(10)
    assert seen == ["NotExist", "Unavailable", "Unavailable", "Starting", "Starting", "Starting", None]
    calls.runtimes.plays("rt1", State("Stopping", 10), State("Failed", message="The container ended."))
    assert calls.status() == "Stopping"
    cloud.clock.sleep(10)
    assert calls.body("GET", "FlowRuntimes/rt1")["statusMessage"] == "The container ended."


def test_a_failed_creation_says_why(calls: Calls, cloud: Cloud) -> None:
    cloud.scenario.fault("POST", "flowRuntimes", OperationFails("", "The image can't be pulled."))
    calls.create()
    cloud.clock.sleep(SECONDS)
    failed = calls.body("GET", "FlowRuntimes/rt1")
    assert (failed["status"], failed["statusMessage"]) == ("Failed", "The image can't be pulled.")
    assert failed["error"]["error"]["message"] == "The image can't be pulled."


def test_a_creation_that_never_ends(calls: Calls, cloud: Cloud) -> None:
    cloud.scenario.fault("POST", "flowRuntimes", OperationNeverEnds())
    calls.create()
    cloud.clock.sleep(1e9)
    assert calls.status() == "Starting"


def test_it_needs_a_running_compute_instance(calls: Calls, cloud: Cloud) -> None:
    path = "FlowRuntimes/rt1?asyncCall=true"
    assert calls.code("POST", path, {**NEW, "computeInstanceName": "none"}) == (404, "ComputeInstanceNotFound")
    assert calls.code("POST", path, {"runtimeType": "ComputeInstance"}) == (404, "ComputeInstanceNotFound")
    url = f"https://management.azure.com{calls.computes}/ci2?api-version=2023-08-01-preview"
    import requests

    assert requests.put(url, json=INSTANCE, headers=calls.headers, timeout=10).status_code == 201
    slow = {**NEW, "computeInstanceName": "ci2"}
    assert calls.code("POST", path, slow) == (400, "ComputeInstanceNotRunning")
    cloud.clock.sleep(1000)
    assert calls.body("POST", path, slow)["status"] == "Starting"
    cloud.clock.sleep(1000)
    assert calls.status() is None
    assert requests.delete(f"{url}&underlyingResourceAction=Delete", headers=calls.headers, timeout=10).ok
    cloud.clock.sleep(1000)
    assert calls.status() == "Unavailable"


def test_bad_requests_are_refused(calls: Calls) -> None:
    path = "FlowRuntimes/rt1?asyncCall=true"
    assert calls.code("POST", path, {**NEW, "size": "large"}) == (400, "BadArgument")
    assert calls.code("POST", path, {**NEW, "runtimeType": "Cloud"}) == (400, "BadArgument")
    assert calls.code("POST", path, []) == (400, "BadArgument")
    assert calls.code("GET", "FlowRuntimes/none") == (404, "RuntimeNotFound")
    calls.create()
    assert calls.code("POST", path, NEW) == (409, "RuntimeAlreadyExists")
    assert calls.body("PUT", "FlowRuntimes/rt1", {"runtimeDescription": "ours"})["runtimeDescription"] == "ours"
    assert calls.code("PUT", "FlowRuntimes/rt1", {"runtimeType": "Local"}) == (400, "BadArgument")
    assert calls.code("PUT", "FlowRuntimes/none", {}) == (404, "RuntimeNotFound")


def test_faults_and_refused_tokens_come_in_the_services_own_words(calls: Calls, cloud: Cloud) -> None:
    cloud.scenario.fault("GET", "flowRuntimes", Status(429, "TooManyRequests", "Slow down.", {"Retry-After": "7"}))
    cloud.scenario.fault("GET", "flowRuntimes", Delay(5))
    answer = calls.send("GET", "FlowRuntimes/rt1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json()["error"]["code"] == "RequestThrottled"
    calls.runtimes.seed(calls.workspace.id, "rt1", "ci1")
    assert (calls.status(), cloud.clock.now()) == (None, 5.0)
    cloud.scenario.token_seconds = 60
    cloud.clock.sleep(60)
    assert calls.code("GET", "FlowRuntimes/rt1") == (401, "ExpiredAuthenticationToken")


def test_a_stale_read_sees_what_was_before(calls: Calls, cloud: Cloud) -> None:
    calls.create()
    cloud.scenario.fault("GET", "flowRuntimes", StaleRead())
    assert calls.code("GET", "FlowRuntimes/rt1") == (404, "RuntimeNotFound")
    cloud.clock.sleep(SECONDS)
    calls.body("DELETE", "FlowRuntimes/rt1")
    cloud.clock.sleep(SECONDS)
    cloud.scenario.fault("GET", "flowRuntimes", StaleRead())
    assert calls.status() is None


def test_a_workspace_that_is_not_there_is_named(calls: Calls, cloud: Cloud) -> None:
    cloud.arm.resources.clear()
    assert calls.code("GET", "FlowRuntimes/rt1") == (404, "WorkspaceNotFound")


def test_an_operation_that_is_not_emulated_is_unknown(calls: Calls, cloud: Cloud) -> None:
    assert calls.send("GET", "FlowRuntimes/latestConfig/more").status_code == 501
    assert len(cloud.unknown) == 1
    cloud.unknown.clear()


def test_the_exchanges_fit_the_published_description(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    cloud.scenario.fault("POST", "flowRuntimes", OperationFails("", "No."))
    calls.create()
    cloud.clock.sleep(SECONDS)
    calls.status()
    calls.body("PUT", "FlowRuntimes/rt1", {"runtimeDescription": "ours"})
    calls.body("DELETE", "FlowRuntimes/rt1?asyncCall=true")
    cloud.clock.sleep(SECONDS)
    calls.code("GET", "FlowRuntimes/rt1")
    calls.create("rt2")
    cloud.clock.sleep(SECONDS)
    assert calls.status("rt2") is None
    calls.body("GET", "FlowRuntimes")
    assert spec_check.findings(cloud, tmp_path) == []
