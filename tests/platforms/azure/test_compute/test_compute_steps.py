"""The steps that make and remove one run's compute, through unchanged clients, in virtual time."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from azure_emulator.computes import COMPUTE_TYPE
from azure_emulator.entra import IDENTITY_TYPE
from azure_emulator.faults import MATRIX, PRINCIPAL_NOT_FOUND, Fault, OperationFails, OperationNeverEnds, Reset, Status
from azure_emulator.identities import ASSIGNMENT_TYPE, granted
from azure_emulator.kinds import Resource
from azure_emulator.prompt_flow import State
from compute_world import NOW, ORDER, Run, runtimes, seed
from release_project import ReleaseProject
from spec_check import findings

from orchestration.errors import (
    PlatformError,
    PlatformTimeout,
    ProvisioningFailed,
    ResourceNotFound,
)
from orchestration.platforms.azure.test_compute.access import DATA_SCIENTIST
from orchestration.platforms.names import INSTANCE, run_name
from orchestration.steps import test_compute as steps

KINDS = {"create_identity": "userAssignedIdentities", "assign_role": "roleAssignments", "create_instance": "computes"}
CALLS = (
    *((step, method, kind) for step, kind in KINDS.items() for method in ("GET", "PUT")),
    ("create_runtime", "GET", "flowRuntimes"),
    ("create_runtime", "POST", "flowRuntimes"),
    ("wait_for_runtime", "GET", "flowRuntimes"),
)


def sent_body(run: Run, method: str, part: str) -> dict:
    (exchange,) = run.sent(method, part)
    return json.loads(exchange.request_body)


# ---- what is made


def test_a_run_makes_four_things_and_removes_them(run: Run) -> None:
    run.go()
    assert len(run.left()) == 4
    assert run.made.name in runtimes(run).names(run.project.workspace.id)
    run.remove()
    assert run.left() == []
    assert run.clock.now() < 240 + 300 + 90 + 30 + 5 * 11 + 11  # the operations' own time, and a poll for each


def test_what_is_sent(run: Run) -> None:
    run.go()
    identity = sent_body(run, "PUT", IDENTITY_TYPE)
    assert (identity["location"], identity["tags"]) == ("westeurope", run.made.tags)
    role = sent_body(run, "PUT", "roleAssignments")["properties"]
    assert role["principalType"] == "ServicePrincipal"
    assert role["roleDefinitionId"].endswith(DATA_SCIENTIST)
    compute = sent_body(run, "PUT", "/computes/")
    assert compute["tags"] == run.made.tags
    assert compute["properties"]["properties"]["vmSize"] == "Standard_DS1_v2"
    assert compute["properties"]["properties"]["idleTimeBeforeShutdown"] == "PT30M"
    assert [path.rpartition("/")[2] for path in compute["identity"]["userAssignedIdentities"]] == [run.made.name]
    runtime = sent_body(run, "POST", "/FlowRuntimes/")
    assert runtime == {"runtimeType": "ComputeInstance", "computeInstanceName": run.made.name}


def test_the_tags_say_whose_it_is_and_when_it_ends(run: Run) -> None:
    tags = run.made.tags
    assert (tags["sluice"], tags["run"], tags["prompt_flow"], tags["environment"]) == ("1", "6f1c", "echo", "dev")
    deadlines = 2 * 900 + 1800 + 1200 + 2 * 3600 + 4 * 1800
    assert tags["expires"] == (NOW + timedelta(seconds=deadlines)).isoformat()


def test_the_role_is_the_identitys(run: Run) -> None:
    run.go(2)
    run.clock.sleep(1000)
    path = next(path for path in run.left() if IDENTITY_TYPE in path)
    principal = run.project.cloud.see(path)["properties"]["principalId"]
    assert granted(run.project.cloud, principal, DATA_SCIENTIST, run.project.workspace.id)


def test_size_and_idle_time_are_the_environments(project: ReleaseProject) -> None:
    project.configure("compute_instance: {vm_size: Standard_D2s_v3, idle_minutes: 60}")
    run = Run(project)
    run.go(3)
    asked = sent_body(run, "PUT", "/computes/")["properties"]["properties"]
    assert (asked["vmSize"], asked["idleTimeBeforeShutdown"]) == ("Standard_D2s_v3", "PT60M")


def test_names_follow_from_the_run_and_are_legal() -> None:
    names = {run_name(str(uuid.UUID(int=number)), flow) for number in range(500) for flow in ("a", "b")}
    assert len(names) == 1000
    assert all(INSTANCE.fullmatch(name) and len(name) <= 24 for name in names)
    assert run_name("x", "a") == run_name("x", "a")


@pytest.mark.parametrize("name", ["sluice-123", "a", "ab", "1abc", "a-", "a" * 25, "abc-1-2"])
def test_names_that_azure_would_refuse(name: str) -> None:
    assert not INSTANCE.fullmatch(name)


# ---- repeated, killed, left behind


def test_repeated_steps_write_nothing(run: Run) -> None:
    for step in ORDER:
        for _ in range(2):
            step(run.work, run.made, clock=run.clock)
    assert [len(run.sent("PUT", part)) for part in (IDENTITY_TYPE, "roleAssignments", "/computes/")] == [1, 1, 1]
    assert len(run.sent("POST", "/FlowRuntimes/")) == 1


def test_removing_twice_sends_nothing_the_second_time(run: Run) -> None:
    run.go()
    run.remove()
    before = len(run.project.cloud.exchanges)
    run.remove()
    assert {each.method for each in run.project.cloud.exchanges[before:]} <= {"GET"}


@pytest.mark.parametrize("done", range(len(ORDER) + 1))
def test_whatever_was_made_is_removed(run: Run, done: int) -> None:
    run.go(done)
    run.remove()
    assert run.left() == []


@pytest.mark.parametrize("done", range(1, len(ORDER) + 1))
def test_what_a_killed_run_left_is_removed_when_it_has_expired(run: Run, done: int) -> None:
    run.go(done)
    later = Run(run.project, id="another")
    later.remove(now=NOW + timedelta(hours=4))
    assert run.left() != []
    later.remove(now=NOW + timedelta(days=1))
    run.clock.sleep(1000)
    assert run.left() == []


def test_an_assignment_whose_identity_is_gone_is_taken_back(run: Run) -> None:
    run.go(2)
    path = next(path for path in run.left() if IDENTITY_TYPE in path)
    del run.project.cloud.arm.resources[path.lower()]
    assert run.left() != []
    Run(run.project, id="another").remove()
    assert run.left() == []


def test_an_assignment_of_an_identity_that_was_there_before_is_made_anew(run: Run) -> None:
    run.go(2)
    path = next(path for path in run.left() if IDENTITY_TYPE in path)
    del run.project.cloud.arm.resources[path.lower()]
    run.go(2)
    principal = run.project.cloud.see(path)["properties"]["principalId"]
    run.clock.sleep(1000)
    assert granted(run.project.cloud, principal, DATA_SCIENTIST, run.project.workspace.id)


# ---- what goes wrong


@pytest.mark.parametrize(
    "fault", [Status(400, "QuotaExceeded", "No cores left."), OperationFails("QuotaExceeded", "No cores left.")]
)
def test_quota_is_said_at_first_sight(run: Run, fault: Fault) -> None:
    run.project.cloud.scenario.fault("PUT", "computes", fault)
    with pytest.raises(ProvisioningFailed, match=r"No cores left\..*az ml compute list-usage"):
        run.go(3)
    assert run.clock.now() < 300
    run.remove()
    assert run.left() == []


def test_an_instance_that_is_never_there(run: Run) -> None:
    run.project.cloud.scenario.fault("PUT", "computes", OperationNeverEnds())
    with pytest.raises(PlatformTimeout, match=r"not ready after 1800 s \(last state: Creating\)"):
        run.go(3)
    with pytest.raises(
        PlatformError, match=rf"Not all of {run.made.name} could be removed.*tries again; or remove it by hand"
    ):
        run.remove()
    assert [path.rpartition("/")[2] for path in run.left()] == [run.made.name]  # the instance alone


@pytest.mark.parametrize("state", ["SetupFailed", "CreateFailed", "Unusable"])
def test_an_instance_that_is_created_and_does_not_work(run: Run, state: str) -> None:
    run.go(2)
    resource = run.project.cloud.arm.peek(seed(run, COMPUTE_TYPE, run.made.tags))
    assert resource is not None
    kind = run.project.cloud.arm.kind_of(resource.id)

    def shown(_: Resource, body: dict) -> None:
        body["properties"]["properties"]["state"] = state

    run.project.cloud.arm.kind(COMPUTE_TYPE, replace(kind, shown=shown))
    with pytest.raises(ProvisioningFailed, match=rf"{run.made.name} Failed: {state}"):
        steps.create_instance(run.work, run.made, clock=run.clock)
    assert run.clock.now() < 60


def test_a_runtime_that_failed_says_why_at_once(run: Run) -> None:
    runtimes(run).plays(run.made.name, State("Starting", 60), State("Failed", message="The image could not be pulled."))
    with pytest.raises(ProvisioningFailed, match=r"Failed: The image could not be pulled\."):
        run.go()
    assert run.clock.now() < 240 + 60 + 30
    run.remove()
    assert run.left() == []


@pytest.mark.parametrize("status", ["Starting", "Unavailable", "Stopping", "SomethingNew"])
def test_no_word_of_the_service_means_ready(run: Run, status: str) -> None:
    runtimes(run).plays(run.made.name, State(status))
    with pytest.raises(PlatformTimeout, match=rf"not ready after 1200 s \(last state: {status}\)"):
        run.go()


def test_a_runtime_that_does_not_exist_is_given_up_after_a_while(run: Run) -> None:
    runtimes(run).plays(run.made.name, State("NotExist"))
    with pytest.raises(ResourceNotFound, match="is gone"):
        run.go()
    assert steps.GRACE_SECONDS < run.clock.now() - 240 < steps.GRACE_SECONDS + 60


@pytest.mark.parametrize(
    "fault",
    [
        Status(200, "UserError", "an error has no status either"),
        Status(404, "UserError", "not found"),
        Status(500, "ServiceError", "x"),
        MATRIX["wrong JSON"],
        MATRIX["truncated body"],
    ],
    ids=str,
)
def test_an_error_is_never_ready(run: Run, fault: Fault) -> None:
    run.go(4)
    began = run.clock.now()
    run.project.cloud.scenario.fault("GET", "flowRuntimes", fault, times=3)
    steps.wait_for_runtime(run.work, run.made, clock=run.clock)
    assert run.clock.now() - began >= 300


def test_an_error_that_stays_ends_the_wait(run: Run) -> None:
    run.go(4)
    run.project.cloud.scenario.fault("GET", "flowRuntimes", Status(200, "UserError", "no"), times=100)
    with pytest.raises(PlatformError, match="names no such runtime"):
        steps.wait_for_runtime(run.work, run.made, clock=run.clock)
    assert run.clock.now() < 240 + 100


def test_tokens_are_renewed_while_it_waits(run: Run) -> None:
    run.project.cloud.scenario.token_seconds = 60
    run.go()
    run.remove()
    assert run.left() == []


def test_a_new_principal_is_waited_for(run: Run) -> None:
    run.project.cloud.scenario.fault("PUT", "roleAssignments", PRINCIPAL_NOT_FOUND, times=5)
    run.go(2)
    assert 50 <= run.clock.now() < 60
    assert len(run.below(run.project.workspace.id, ASSIGNMENT_TYPE)) == 1


@pytest.mark.parametrize(("step", "method", "kind"), [call for call in CALLS if call[1] != "GET"])
def test_a_lost_answer_is_settled_by_looking(run: Run, step: str, method: str, kind: str) -> None:
    run.project.cloud.scenario.fault(method, kind, Reset(after_commit=True), times=4)
    run.go()
    run.remove()
    assert run.left() == []


def test_what_is_sent_is_as_published(run: Run, tmp_path: Path) -> None:
    run.go()
    run.remove()
    assert findings(run.project.cloud, tmp_path) == []
