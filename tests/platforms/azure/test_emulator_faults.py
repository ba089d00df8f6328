"""Every fault of the matrix, as a client meets it, and what is left behind it."""

from __future__ import annotations

import pytest
import requests
from azure_clients import identities
from azure_emulator import Cloud
from azure_emulator.faults import MATRIX, STATUSES, Status
from by_hand import THING, ByHand, things

BODY = {"properties": {"size": 2}}
COMMITS = {"reset after commit", "delay", "truncated body", "wrong JSON", "stale read"}
BREAKS = {
    "reset before": requests.exceptions.ConnectionError,
    "reset after commit": requests.exceptions.ConnectionError,
    "truncated body": requests.exceptions.ChunkedEncodingError,
    "wrong JSON": requests.exceptions.JSONDecodeError,
}


@pytest.fixture
def arm(cloud: Cloud) -> ByHand:
    sent = things(cloud)
    cloud.arm.seed(THING, {"properties": {"size": 1}})
    return sent


def test_the_matrix_has_nineteen_faults() -> None:
    assert len(MATRIX) == 19
    assert len(STATUSES) == 11


@pytest.mark.parametrize("name", MATRIX)
def test_a_write_that_meets_a_fault_is_done_or_not_as_the_fault_says(cloud: Cloud, arm: ByHand, name: str) -> None:
    fault = MATRIX[name]
    cloud.scenario.fault("PUT", "things", fault)
    if name in BREAKS:
        with pytest.raises(BREAKS[name]):
            arm.send("PUT", THING, BODY).json()
    else:
        answer = arm.send("PUT", THING, BODY)
        assert answer.status_code == (fault.status if isinstance(fault, Status) else 200)
    assert cloud.clock.now() == (30.0 if name == "delay" else 0.0)
    cloud.clock.sleep(1000)
    settled = {**dict.fromkeys(COMMITS, 2), "operation never ends": 2}.get(name, 1)
    state = {"operation failed": "Failed", "operation never ends": "Updating"}.get(name, "Succeeded")
    assert arm.body("GET", THING)["properties"] == {"size": settled, "provisioningState": state}
    assert cloud.scenario.unplayed() == {}


@pytest.mark.parametrize("fault", STATUSES, ids=lambda fault: str(fault.status))
def test_statuses_come_in_the_envelope_with_their_headers(cloud: Cloud, arm: ByHand, fault: Status) -> None:
    cloud.scenario.fault("GET", "things", fault)
    answer = arm.send("GET", THING)
    assert answer.status_code == fault.status
    assert answer.json() == {"error": {"code": fault.code, "message": fault.message}}
    assert set(fault.headers) <= set(answer.headers)
    assert ("Retry-After" in answer.headers) == (fault.status in {429, 503})


@pytest.mark.parametrize("method", ["GET", "LIST", "DELETE", "PATCH"])
def test_a_fault_meets_only_the_call_that_it_names(cloud: Cloud, arm: ByHand, method: str) -> None:
    cloud.scenario.fault(method, "things", STATUSES[0])
    collection = THING.rsplit("/", 1)[0]
    paths = {"GET": THING, "LIST": collection, "PATCH": THING, "DELETE": THING}
    hit = {}
    for name, path in paths.items():
        answer = arm.send("GET" if name == "LIST" else name, path, {"tags": {}} if name == "PATCH" else None)
        hit[name] = answer.status_code == 400
        cloud.clock.sleep(1000)
    assert hit == {name: name == method for name in paths}


@pytest.mark.parametrize("name", ["reset before", "truncated body", "500", "502", "504"])
def test_the_sdk_gets_over_one_broken_read_by_itself(cloud: Cloud, name: str) -> None:
    client = identities(cloud).user_assigned_identities
    client.create_or_update("team", "mine", {"location": "westeurope"})
    cloud.scenario.fault("GET", "userAssignedIdentities", MATRIX[name])
    assert client.get("team", "mine").name == "mine"
    assert len(cloud.scenario.played) == 1


def test_what_was_broken_on_purpose_is_not_given_to_the_validator(cloud: Cloud, arm: ByHand, tmp_path) -> None:
    cloud.scenario.fault("GET", "things", MATRIX["wrong JSON"])
    arm.send("GET", THING)
    arm.send("GET", THING)
    assert [each.broken for each in cloud.exchanges] == [True, False]
    assert cloud.write_exchanges(tmp_path / "exchanges.jsonl") == 1


def test_recorded_bodies_are_what_went_over_the_wire_and_stay_so(cloud: Cloud, arm: ByHand) -> None:
    arm.body("PUT", THING, BODY)
    before = cloud.exchanges[-1]
    cloud.clock.sleep(1000)
    arm.body("PUT", THING, {"properties": {"size": 3}})
    assert (before.method, before.status, before.request_body) == ("PUT", 200, b'{"properties": {"size": 2}}')
    assert b'"size": 2' in before.response_body
    assert before.url.endswith("one?api-version=2024-01-01")
    assert before.request_headers["authorization"].startswith("Bearer ")
