"""The store of resources behind management.azure.com: lifecycle, conflicts, lists, and the published descriptions."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError
from azure_clients import WORKSPACE, WORKSPACE_TYPE, identities, roles, studio
from azure_emulator import Cloud, RealClock, Scenario, VirtualClock
from azure_emulator.arm_ids import ArmId
from azure_emulator.faults import OperationFails, Reset, StaleRead
from azure_emulator.kinds import Kind, Put, Resource
from azure_emulator.wire import Refused, Request, Response
from by_hand import THING, TYPE, things
from spec_check import findings

from orchestration import polling


def test_a_resource_is_created_updated_and_removed_by_the_clock(cloud: Cloud) -> None:
    arm = things(cloud)
    made = arm.send("PUT", THING, {"properties": {"size": 1}, "tags": {"a": "b"}})
    assert (made.status_code, made.json()["properties"]) == (201, {"size": 1, "provisioningState": "Creating"})
    assert (made.json()["id"], made.json()["name"], made.json()["type"]) == (THING, "one", TYPE)
    cloud.clock.sleep(100)
    assert arm.body("GET", THING.upper())["properties"]["provisioningState"] == "Succeeded"
    updated = arm.send("PUT", THING, {"properties": {"size": 2}})
    assert (updated.status_code, updated.json()["properties"]["provisioningState"]) == (200, "Updating")
    cloud.clock.sleep(100)
    assert arm.send("DELETE", THING).status_code == 202
    assert arm.send("DELETE", THING).status_code == 202  # under way already
    assert arm.body("GET", THING)["properties"]["provisioningState"] == "Deleting"
    cloud.clock.sleep(50)
    assert arm.code("GET", THING) == (404, "ResourceNotFound")
    assert arm.send("DELETE", THING).status_code == 204
    verbs = [(each.at, each.verb) for each in cloud.arm.history]
    assert verbs == [
        (0, "Creating"), (100, "Succeeded"), (100, "Updating"), (200, "Succeeded"), (200, "Deleting"), (250, "deleted"),
    ]  # fmt: skip


def test_operations_are_polled_where_the_headers_say(cloud: Cloud) -> None:
    arm = things(cloud)
    put = arm.send("PUT", THING, {"properties": {}})
    status = put.headers["Azure-AsyncOperation"]
    assert ("Location" in put.headers, put.headers["x-ms-async-operation-timeout"]) == (False, "PT1H")
    assert ("Retry-After" in put.headers, put.headers["x-ms-retry-after-ms"]) == (False, "100")
    assert arm.body("GET", status)["status"] == "InProgress"
    cloud.clock.sleep(100)
    assert arm.body("GET", status)["status"] == "Succeeded"
    patch = arm.send("PATCH", THING, {"tags": {"a": "b"}})
    assert (patch.status_code, arm.send("GET", patch.headers["Location"]).status_code) == (202, 202)
    cloud.clock.sleep(20)
    assert arm.body("GET", patch.headers["Location"])["tags"] == {"a": "b"}
    delete = arm.send("DELETE", THING)
    cloud.clock.sleep(50)
    assert arm.send("GET", delete.headers["Location"]).status_code == 204


@pytest.mark.parametrize(("method", "state"), [("PUT", "Failed"), ("PATCH", "Failed"), ("DELETE", "Failed")])
def test_a_failed_operation_says_why_and_an_update_leaves_what_was(cloud: Cloud, method: str, state: str) -> None:
    arm = things(cloud)
    arm.body("PUT", THING, {"properties": {"size": 1}})
    cloud.clock.sleep(100)
    cloud.scenario.fault(method, "things", OperationFails("OutOfQuota", "No cores."))
    answer = arm.send(method, THING, {"properties": {"size": 2}})
    cloud.clock.sleep(100)
    poll = arm.send("GET", answer.headers.get("Azure-AsyncOperation") or answer.headers["Location"])
    assert poll.json().get("status", "Failed") == "Failed"
    assert poll.json()["error"] == {"code": "OutOfQuota", "message": "No cores."}
    assert arm.body("GET", THING)["properties"] == {"size": 1, "provisioningState": state}


def test_a_patch_merges_and_removes(cloud: Cloud) -> None:
    arm = things(cloud)
    cloud.arm.seed(THING, {"tags": {"a": "1", "b": "2"}, "properties": {"deep": {"x": 1, "y": 2}, "list": [1, 2]}})
    arm.send("PATCH", THING, {"tags": {"a": None, "c": "3"}, "properties": {"deep": {"y": 3}, "list": [3]}})
    cloud.clock.sleep(20)
    body = arm.body("GET", THING)
    assert body["tags"] == {"b": "2", "c": "3"}
    assert body["properties"] == {"deep": {"x": 1, "y": 3}, "list": [3], "provisioningState": "Succeeded"}


def test_what_lies_below_needs_its_parent_and_goes_with_it(cloud: Cloud) -> None:
    arm = things(cloud)
    assert arm.code("PUT", f"{THING}/parts/p", {}) == (404, "ResourceNotFound")
    cloud.arm.seed(THING, {})
    assert arm.send("PUT", f"{THING}/parts/p", {}).status_code == 201
    cloud.arm.seed(f"{THING}-two/parts/q", {})
    arm.send("DELETE", THING)
    cloud.clock.sleep(50)
    assert cloud.see(THING) is None
    assert (cloud.see(f"{THING}/parts/p"), cloud.see(f"{THING}-two/parts/q") is None) == (None, False)
    assert arm.code("GET", f"{THING}/parts") == (404, "ResourceNotFound")


def test_lists_are_paged_and_can_be_newest_first(cloud: Cloud) -> None:
    arm = things(cloud)
    cloud.arm.seed(THING, {})
    cloud.scenario.page_size = 2
    for name in "abcde":
        arm.body("PUT", f"{THING}/parts/{name}", {})
        cloud.clock.sleep(1)
    first = arm.body("GET", f"{THING}/parts?$orderBy=createdtime desc")
    second = arm.body("GET", first["nextLink"])
    last = arm.body("GET", second["nextLink"])
    names = [[each["name"] for each in page["value"]] for page in (first, second, last)]
    assert (names, "nextLink" in last) == ([["e", "d"], ["c", "b"], ["a"]], False)
    assert len(arm.body("GET", f"{THING}/parts?$top=1")["value"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("PUT", THING, [], (400, "InvalidRequestContent")),
        ("PATCH", THING, {"tags": {}}, (404, "ResourceNotFound")),
        ("POST", f"{THING}/act", {}, (404, "ResourceNotFound")),
        ("GET", f"{THING}/parts/p", None, (404, "ResourceNotFound")),
    ],
)
def test_bad_requests_get_the_envelope(
    cloud: Cloud, method: str, path: str, body: object, expected: tuple[int, str]
) -> None:
    async def act(request: Request, resource: Resource) -> Response:
        return Response(200, {"name": resource.id.name, "asked": request.json()})

    arm = things(cloud, actions={"act": act})
    assert arm.code(method, path, body) == expected
    assert arm.code(method, path, body, version="") == (400, "MissingApiVersionParameter")
    cloud.arm.seed(THING, {})
    assert arm.body("POST", f"{THING}/ACT", {"x": 1}) == {"name": "one", "asked": {"x": 1}}


def test_a_hooks_no_is_an_answer_before_and_a_failed_operation_after_acceptance(cloud: Cloud) -> None:
    async def check(put: Put) -> None:
        if put.body["properties"].pop("bad", False):
            raise Refused(409, "TooBad", "It is bad.")
        put.body["properties"]["filled"] = True
        put.data["secret"] = "kept"

    async def settled(resource: Resource) -> None:
        if resource.properties.get("breaks"):
            raise Refused(400, "Broken", f"It broke with what was {resource.data['secret']}.")
        resource.properties["url"] = "https://one.example"

    arm = things(cloud, check_put=check, settled=settled)
    assert arm.code("PUT", THING, {"properties": {"bad": True}}) == (409, "TooBad")
    assert cloud.see(THING) is None
    arm.body("PUT", THING, {"properties": {}})
    assert cloud.see(THING)["properties"] == {"filled": True, "provisioningState": "Creating"}
    cloud.clock.sleep(100)
    assert cloud.see(THING)["properties"]["url"] == "https://one.example"
    operation = arm.send("PUT", THING, {"properties": {"breaks": True}}).headers["Azure-AsyncOperation"]
    cloud.clock.sleep(100)
    assert arm.body("GET", operation)["error"] == {"code": "Broken", "message": "It broke with what was kept."}
    assert cloud.see(THING)["properties"] == {
        "filled": True, "url": "https://one.example", "provisioningState": "Failed",
    }  # fmt: skip


def test_a_stale_read_sees_what_was_before_the_latest_change(cloud: Cloud) -> None:
    arm = things(cloud)
    for method in ("GET", "LIST"):
        cloud.scenario.fault(method, "things", StaleRead(), times=2)
    arm.body("PUT", THING, {"properties": {"size": 1}})
    collection = THING.rsplit("/", 1)[0]
    assert (arm.code("GET", THING)[0], arm.body("GET", collection)["value"]) == (404, [])
    cloud.clock.sleep(100)
    arm.body("PUT", THING, {"properties": {"size": 2}})
    was = {"size": 1, "provisioningState": "Succeeded"}
    assert (arm.body("GET", THING)["properties"], arm.body("GET", collection)["value"][0]["properties"]) == (was, was)
    assert arm.body("GET", THING)["properties"]["size"] == 2


def test_a_hook_runs_once_however_many_look(cloud: Cloud) -> None:
    runs = []

    async def settled(resource: Resource) -> None:
        runs.append(resource.id.name)

    arm = things(cloud, settled=settled)
    arm.body("PUT", THING, {"properties": {}})
    cloud.clock.sleep(100)
    with ThreadPoolExecutor(8) as pool:
        states = pool.map(lambda _: arm.body("GET", THING)["properties"]["provisioningState"], range(16))
    assert (set(states), runs) == ({"Succeeded"}, ["one"])


def test_scenarios_name_calls_by_as_much_of_the_kind_as_it_takes() -> None:
    scenario = Scenario({"PUT models/versions": 3.0, "PUT versions": 1.0}, {"PUT models/versions": 9.0})
    models, codes = "A.B/workspaces/models/versions", "A.B/workspaces/codes/versions"
    assert [scenario.duration("PUT", each) for each in (models, codes, "A.B/other")] == [3.0, 1.0, 0.0]
    assert [scenario.duration("PUT", each, update=True) for each in (models, codes)] == [9.0, 1.0]
    first, second = Reset(), StaleRead()
    scenario.fault("put", "Versions", first)
    scenario.fault("PUT", models, second, times=2)
    assert scenario.take("GET", models) is None
    assert [scenario.take("PUT", models) for _ in range(4)] == [second, second, first, None]
    assert scenario.played == [("PUT", models, second)] * 2 + [("PUT", models, first)]
    scenario.fault("PUT", "codes", first)
    assert scenario.unplayed() == {"PUT codes": 1}


def test_paths_are_split_from_their_end() -> None:
    child = ArmId.parse(f"{WORKSPACE}/onlineEndpoints/e/deployments/blue/")
    assert child is not None
    assert (child.type, child.name, child.is_resource) == (
        f"{WORKSPACE_TYPE}/onlineEndpoints/deployments",
        "blue",
        True,
    )
    assert child.parent is not None
    assert (child.parent.name, child.under(WORKSPACE), child.under(f"{WORKSPACE}2")) == ("e", True, False)
    grant = ArmId.parse(f"{WORKSPACE}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}")
    assert grant is not None
    assert (grant.scope, grant.type) == (WORKSPACE, "Microsoft.Authorization/roleAssignments")
    assert grant.parent == ArmId.parse(WORKSPACE)
    assert ArmId.parse("/subscriptions/s/resourceGroups/g").type == "Microsoft.Resources/subscriptions/resourceGroups"
    assert ArmId.parse("/tenants") is None


def test_the_clocks_serve_the_products_own_waits() -> None:
    virtual, fast = VirtualClock(), RealClock(speed=1000.0)
    for clock, last in ((virtual, 90.0), (fast, 60.0)):
        waits = polling.Clock(clock.now, clock.sleep)
        polling.wait_until(
            lambda now=clock.now: now() >= 60 or None, what="it", timeout_seconds=100,
            wait=polling.every(30, jitter=0), clock=waits,
        )  # fmt: skip
        assert 60 <= clock.now() <= last + 40
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(virtual.sleep, [1.0] * 100))
    assert virtual.now() == 160.0


def test_what_the_real_clients_and_the_emulator_say_agrees_with_the_published_descriptions(
    cloud: Cloud, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import ComputeInstance

    cloud.arm.kind(WORKSPACE_TYPE, Kind())
    cloud.arm.seed(WORKSPACE, {"location": "westeurope", "properties": {"provisioningState": "Succeeded"}})
    made = identities(cloud).user_assigned_identities
    identity = made.create_or_update("team", "mine", {"location": "westeurope"})
    _assign(cloud, identity.principal_id)
    computes = studio(cloud).compute
    for name, fault in (("ci1", None), ("ci2", OperationFails("QuotaExceeded", "No cores left."))):
        if fault:
            cloud.scenario.fault("PUT", "computes", fault)
        poller = computes.begin_create_or_update(ComputeInstance(name=name, size="Standard_DS1_v2"))
        cloud.clock.sleep(240)
        with pytest.raises(HttpResponseError) if fault else nullcontext():
            poller.wait(10)
    assert [each.name for each in computes.list()] == ["ci1", "ci2"]
    poller = computes.begin_delete("ci1")
    cloud.clock.sleep(90)
    poller.wait(10)
    made.delete("team", "mine")
    assert findings(cloud, tmp_path) == []


def _assign(cloud: Cloud, principal: str) -> None:
    client, name, role = roles(cloud).role_assignments, str(uuid.uuid4()), str(uuid.uuid4())
    definition = f"/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/{role}"
    properties = {"roleDefinitionId": definition, "principalId": principal, "principalType": "ServicePrincipal"}
    client.create(WORKSPACE, name, {"properties": properties})
    assert [each.name for each in client.list_for_scope(WORKSPACE)] == [name]
    client.delete(WORKSPACE, name)
