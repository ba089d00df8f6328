"""Traffic on Azure: one write changes the map, what it replaced and the generation; every write looks first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure_emulator.faults import OperationFails, Reset, StaleRead, Status
from release_project import ENDPOINT, OWNER, ReleaseProject

from orchestration.errors import (
    ConfigurationError,
    PlatformConflict,
    PlatformUnavailable,
    ResourceDamaged,
    ResourceNotFound,
)
from orchestration.platforms.base import Endpoint
from orchestration.values import Traffic

PUT = f"PUT onlineEndpoints/{ENDPOINT}"


@pytest.fixture(autouse=True)
def deployments(project: ReleaseProject) -> None:
    """The endpoint with blue and green, both healthy, and white, which is not yet."""
    project.ready_endpoint()
    for name, state in (("blue", "Succeeded"), ("green", "Succeeded"), ("white", "Creating")):
        seed(project, name, state)
    project.cloud.exchanges.clear()


def seed(project: ReleaseProject, name: str, state: str) -> None:
    path = f"{project.workspace.id}/onlineEndpoints/{ENDPOINT}/deployments/{name}"
    properties = {
        "endpointComputeType": "Managed",
        "scaleSettings": {"scaleType": "Default"},
        "instanceType": "Standard_DS3_v2",
        "provisioningState": state,
    }
    body = {
        "location": "westeurope",
        "tags": OWNER,
        "properties": properties,
        "sku": {"name": "Default", "capacity": 1},
    }
    project.cloud.arm.seed(path, body).state = state


def shift(project: ReleaseProject, weights: dict[str, int], *, generation: int, **more: Any) -> Traffic:
    """Write the map and let it take effect."""
    written = project.platform.set_traffic(ENDPOINT, weights, generation=generation, **more)
    project.cloud.clock.sleep(100)
    return written


def sent(project: ReleaseProject) -> list[dict[str, Any]]:
    """The bodies of the writes to the endpoint."""
    return [
        json.loads(each.request_body or b"")
        for each in project.cloud.exchanges
        if each.method == "PUT" and f"/onlineEndpoints/{ENDPOINT}?" in each.url and each.status < 300
    ]


def test_map_previous_and_generation_change_in_one_write(project: ReleaseProject) -> None:
    assert project.platform.traffic(ENDPOINT) == Traffic(ENDPOINT, {}, {}, 0)
    first = project.platform.set_traffic(ENDPOINT, {"blue": 100}, generation=0)
    found = project.platform.get(Endpoint.kind, ENDPOINT)
    assert found is not None
    assert found.state == "Updating"
    project.cloud.clock.sleep(100)
    assert first == project.platform.traffic(ENDPOINT) == Traffic(ENDPOINT, {"blue": 100}, {}, 1)
    second = shift(project, {"blue": 90, "green": 10}, generation=1)
    assert (
        second == project.platform.traffic(ENDPOINT) == Traffic(ENDPOINT, {"blue": 90, "green": 10}, {"blue": 100}, 2)
    )
    assert project.writes == [PUT, PUT]
    body = sent(project)[-1]
    assert body["properties"]["traffic"] == {"blue": 90, "green": 10}
    assert body["tags"] == {**OWNER, "previous": '{"blue":100}', "generation": "2"}
    history = [
        each.body["properties"]["traffic"]
        for each in project.cloud.arm.history
        if each.body and each.path.endswith(ENDPOINT)
    ]
    assert all(sum(weights.values()) in (0, 100) for weights in history)


def test_a_rollout_in_steps_keeps_the_map_that_it_began_with(project: ReleaseProject) -> None:
    shift(project, {"blue": 100}, generation=0)
    for number, weight in enumerate((10, 50, 100), start=1):
        weights = {"blue": 100 - weight, "green": weight}
        live = shift(project, weights, generation=number, previous={"blue": 100})
    assert live == project.platform.traffic(ENDPOINT) == Traffic(ENDPOINT, {"green": 100}, {"blue": 100}, 4)


def test_the_map_that_is_live_is_not_written_again(project: ReleaseProject) -> None:
    shift(project, {"blue": 100}, generation=0)
    live = shift(project, {"blue": 100, "green": 0}, generation=1, previous={"white": 100})
    assert live == Traffic(ENDPOINT, {"blue": 100}, {}, 1)
    assert project.writes == [PUT]


def test_somebody_elses_write_is_seen(project: ReleaseProject) -> None:
    shift(project, {"blue": 100}, generation=0)
    with pytest.raises(PlatformConflict, match="generation 1, not 0"):
        project.platform.set_traffic(ENDPOINT, {"green": 100}, generation=0)
    assert project.platform.traffic(ENDPOINT).weights == {"blue": 100}


def test_while_the_endpoint_is_changed_the_next_write_waits(project: ReleaseProject) -> None:
    project.platform.set_traffic(ENDPOINT, {"blue": 100}, generation=0)
    with pytest.raises(PlatformConflict, match="is Updating"):
        project.platform.set_traffic(ENDPOINT, {"green": 100}, generation=1)
    project.cloud.clock.sleep(100)
    busy = Status(409, "Conflict", "Conflict of operation, another operation on same entity is already running.")
    project.cloud.scenario.fault("PUT", "onlineEndpoints", busy)
    with pytest.raises(PlatformConflict, match="another operation"):
        project.platform.set_traffic(ENDPOINT, {"green": 100}, generation=1)
    assert shift(project, {"green": 100}, generation=1).generation == 2


@pytest.mark.parametrize(
    "weights", [{"blue": 60, "green": 60}, {"blue": 101}, {"blue": -1, "green": 101}, {"blue": 99.5}, {"blue": True}]
)
def test_bad_weights_are_refused_before_anybody_is_asked(project: ReleaseProject, weights: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="whole numbers that sum to 100"):
        project.platform.set_traffic(ENDPOINT, weights, generation=0)
    assert project.cloud.exchanges == []


def test_only_what_is_healthy_gets_traffic(project: ReleaseProject) -> None:
    with pytest.raises(PlatformConflict, match=r"echo-dev/white is Creating: no traffic for it"):
        project.platform.set_traffic(ENDPOINT, {"white": 100}, generation=0)
    with pytest.raises(PlatformConflict, match="has no online deployment red"):
        project.platform.set_traffic(ENDPOINT, {"red": 100}, generation=0)
    assert project.writes == []


def test_traffic_of_an_endpoint_that_is_not_there(project: ReleaseProject) -> None:
    for attempt in (
        lambda: project.platform.traffic("echo-prod"),
        lambda: project.platform.set_traffic("echo-prod", {}, generation=0),
        lambda: project.platform.url("echo-prod"),
        lambda: project.platform.access("echo-prod"),
    ):
        with pytest.raises(ResourceNotFound, match="There is no endpoint echo-prod in studio"):
            attempt()


@pytest.mark.parametrize("tags", [{"generation": "many"}, {"previous": "[1]"}, {"previous": "{"}])
def test_broken_tags_stop_a_write(project: ReleaseProject, tags: dict[str, str]) -> None:
    project.platform.tag(Endpoint.kind, ENDPOINT, tags)
    project.cloud.clock.sleep(100)
    with pytest.raises(ResourceDamaged, match=r"previous and generation.*az ml online-endpoint update"):
        project.platform.set_traffic(ENDPOINT, {"blue": 100}, generation=0)


@pytest.mark.parametrize("times", [1, 4])
def test_a_lost_answer_is_settled_by_looking(project: ReleaseProject, times: int) -> None:
    project.cloud.scenario.fault("PUT", "onlineEndpoints", Reset(after_commit=True), times=times)
    assert shift(project, {"blue": 100}, generation=0) == project.platform.traffic(ENDPOINT)
    assert len([each for each in project.cloud.arm.history if each.verb == "Updating"]) == 1


def test_a_write_that_never_arrived_changes_nothing(project: ReleaseProject) -> None:
    project.cloud.scenario.fault("PUT", "onlineEndpoints", Reset(), times=4)
    with pytest.raises(PlatformUnavailable):
        project.platform.set_traffic(ENDPOINT, {"blue": 100}, generation=0)
    assert project.platform.traffic(ENDPOINT) == Traffic(ENDPOINT, {}, {}, 0)


def test_another_write_that_won_is_no_success_of_ours(project: ReleaseProject) -> None:
    """Both read generation 0; the other one's write lands between our look and our write."""
    other = {"blue": 100}
    real = project.platform._deployments.read

    def read(name: str, endpoint: str) -> Any:
        project.platform._deployments.read = real  # type: ignore[method-assign]
        project.platform.set_traffic(ENDPOINT, other, generation=0)
        return real(name, endpoint)

    project.platform._deployments.read = read  # type: ignore[method-assign]
    with pytest.raises(PlatformConflict):
        project.platform.set_traffic(ENDPOINT, {"green": 100}, generation=0)
    project.cloud.clock.sleep(100)
    assert project.platform.traffic(ENDPOINT) == Traffic(ENDPOINT, other, {}, 1)


def test_a_stale_read_is_a_conflict_and_no_lost_write(project: ReleaseProject) -> None:
    shift(project, {"blue": 100}, generation=0)
    project.cloud.scenario.fault("GET", "onlineEndpoints", StaleRead())
    with pytest.raises(PlatformConflict, match="generation 0, not 1"):
        project.platform.set_traffic(ENDPOINT, {"green": 100}, generation=1)


def test_a_failed_change_leaves_the_map_and_the_next_write_is_taken(project: ReleaseProject) -> None:
    shift(project, {"blue": 100}, generation=0)
    project.cloud.scenario.fault("PUT", "onlineEndpoints", OperationFails())
    shift(project, {"green": 100}, generation=1)
    found = project.platform.get(Endpoint.kind, ENDPOINT)
    assert found is not None
    assert (found.state, project.platform.traffic(ENDPOINT).weights) == ("Failed", {"blue": 100})
    project.platform.create(project.endpoint())  # a failed endpoint is written again, with the traffic that it has
    project.cloud.clock.sleep(100)
    assert project.platform.traffic(ENDPOINT) == Traffic(ENDPOINT, {"blue": 100}, {}, 1)
    assert shift(project, {"green": 100}, generation=1) == project.platform.traffic(ENDPOINT)
