"""The front door of the emulated endpoints: who may call, who answers, and what is said when nobody can."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import requests
from azure_clients import sign_in
from azure_emulator import Cloud
from azure_emulator.scoring import Scoring
from endpoint_world import ENDPOINT, World, make_world

pytestmark = pytest.mark.real


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    """An endpoint whose deployment `blue` has all the traffic."""
    made = make_world(cloud, tmp_path)
    made.model()
    made.environment()
    made.endpoint()
    assert made.deploy(environment_variables={"WHO": "blue"}) == "Succeeded"
    made.traffic(blue=100)
    return made


def test_only_those_with_a_key_of_the_endpoint_may_call(world: World) -> None:
    keys = world.ml.online_endpoints.get_keys(ENDPOINT)
    assert [world.score(key=key).status_code for key in (keys.primary_key, keys.secondary_key)] == [200, 200]
    assert [world.score(key=key).status_code for key in ("", "wrong", keys.primary_key[:-1])] == [401, 401, 401]
    assert world.ask("POST", f"onlineEndpoints/{ENDPOINT}/regenerateKeys", {"keyType": "Primary"}).status_code == 200
    assert world.score(key=keys.primary_key).status_code == 401
    assert world.score().status_code == 200
    assert [each.status for each in world.cloud.of(Scoring).answered] == [200, 200, 401, 401, 401, 401, 200]


@pytest.mark.parametrize("mode", ["aml_token", "aad_token"])
def test_endpoints_that_want_tokens(world: World, mode: str) -> None:
    world.endpoint("token-dev", auth_mode=mode)
    credentials = world.ml.online_endpoints.get_keys("token-dev")
    world.begin("one", endpoint_name="token-dev", environment_variables={"WHO": "one"})
    world.settled("token-dev")
    assert world.ml.online_deployments.get("one", "token-dev").provisioning_state == "Succeeded"
    assert world.score(key=credentials.access_token, to="one", host="token-dev").status_code == 200
    other = sign_in(world.cloud).get_token("https://management.azure.com/.default").token
    assert world.score(key=other, to="one", host="token-dev").status_code == 401


def test_a_host_of_no_endpoint_is_nobodys(world: World) -> None:
    assert world.score(key="any", host="nobody").status_code == 501
    assert len(world.cloud.unknown) == 1
    world.cloud.unknown.clear()


def test_weights_are_honoured_and_the_header_overrules_them(world: World) -> None:
    world.deploy("green", environment_variables={"WHO": "green"})
    assert {world.who() for _ in range(5)} == {"blue"}
    world.traffic(blue=80, green=20)
    key = world.key()
    seen = Counter(world.who(key=key) for _ in range(100))
    assert set(seen) == {"blue", "green"}
    assert 5 <= seen["green"] <= 40
    assert {world.who(key=key, to="green") for _ in range(5)} == {"green"}
    assert world.score(to="red").status_code == 404
    assert "azureml-model-deployment" not in world.score(to="red").headers


def test_while_traffic_is_updated_requests_go_where_they_went_before(world: World) -> None:
    world.deploy("green", environment_variables={"WHO": "green"})
    world.put_traffic(green=100)
    assert world.who() == "blue"
    world.settled()
    assert world.who() == "green"


def test_a_container_that_answers_no_200_is_a_424(world: World) -> None:
    answer = world.score({"status": 418})
    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "418"
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert '"who": "blue"' in answer.text
    assert "http-status-codes" in answer.text


def test_a_container_that_is_gone_is_a_424_as_well(world: World) -> None:
    os.kill(world.score().json()["pid"], signal.SIGKILL)
    answer = world.score()
    assert (answer.status_code, answer.headers["ms-azureml-model-error-statuscode"]) == (424, "502")


def test_a_slow_answer_is_a_408(world: World) -> None:
    world.deploy("slow", environment_variables={"WHO": "slow"}, timeout_ms=300)
    began = time.monotonic()
    assert world.score({"sleep": 10}, to="slow").status_code == 408
    assert time.monotonic() - began < 5
    assert world.score({}, to="slow").status_code == 200


def test_too_many_requests_at_a_time_are_refused(world: World) -> None:
    world.deploy("narrow", environment_variables={"WHO": "narrow"}, parallel=1)
    key, statuses = world.key(), list[int]()
    begun = [
        threading.Thread(target=lambda: statuses.append(world.score({"sleep": 1}, to="narrow", key=key).status_code))
        for _ in range(6)
    ]
    for thread in begun:
        thread.start()
    for thread in begun:
        thread.join()
    assert Counter(statuses) == {200: 2, 429: 4}


def test_mirrored_requests_reach_the_other_container_and_nobody_waits_for_it(world: World) -> None:
    world.deploy("green", environment_variables={"WHO": "green"})
    endpoint = world.ml.online_endpoints.get(ENDPOINT)
    endpoint.traffic, endpoint.mirror_traffic = {"blue": 100}, {"green": 50}
    world.ml.online_endpoints.begin_create_or_update(endpoint)
    world.settled()
    key = world.key()
    assert {world.who(key=key) for _ in range(40)} == {"blue"}
    deadline = time.monotonic() + 5
    while world.logs("green").count("asked:") < 10 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert 10 <= world.logs("green").count("asked:") <= 30


def test_other_paths_lead_into_the_container(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.key()}"}
    url = f"https://{ENDPOINT}.{world.workspace.region}.inference.ml.azure.com/swagger.json"
    assert requests.get(url, headers=headers, timeout=10).json() == {}
