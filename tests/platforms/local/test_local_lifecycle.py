"""Endpoints and online deployments: created, adopted, refused, deleted, found again."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import psutil
import pytest
from local_endpoints import APP, Local, eventually, set_traffic, until_settled

from orchestration.errors import ConfigurationError, PlatformConflict, ResourceNotFound, ResourceRefused
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway, stop_all
from orchestration.platforms.local.snapshot import running

pytestmark = pytest.mark.real
ENDPOINT, DEPLOYMENT = Endpoint.kind, OnlineDeployment.kind


def test_a_deployment_goes_from_creating_to_serving_to_gone(local: Local) -> None:
    platform = local.platform()
    platform.create(Endpoint("shout-local", {"run": "1"}))
    assert platform.get(ENDPOINT, "shout-local").state == "Succeeded"
    assert platform.get(DEPLOYMENT, "blue", endpoint="shout-local") is None
    platform.create(local.deployment("blue"))
    assert platform.get(DEPLOYMENT, "blue", endpoint="shout-local").state in ("Creating", "Succeeded")
    assert until_settled(platform, "blue").state == "Succeeded"
    assert platform.invoke("shout-local", {"text": "a"}, deployment="blue").body["label"] == "A"
    platform.delete(DEPLOYMENT, "blue", endpoint="shout-local")
    eventually(lambda: platform.get(DEPLOYMENT, "blue", endpoint="shout-local") is None)
    platform.delete(DEPLOYMENT, "blue", endpoint="shout-local")  # absent is done


def test_the_same_again_is_adopted(local: Local) -> None:
    platform = local.deployed("blue")
    pid = platform.invoke("shout-local", {"text": "a"}, deployment="blue").body["pid"]
    gateway = live_gateway(EndpointFolder.of(local.state, "shout-local"))
    other = local.platform()  # another run
    other.create(Endpoint("shout-local", {"run": "2"}))
    other.create(local.deployment("blue"))
    assert other.invoke("shout-local", {"text": "a"}, deployment="blue").body["pid"] == pid
    assert live_gateway(EndpointFolder.of(local.state, "shout-local")) == gateway
    assert other.get(ENDPOINT, "shout-local").tags["run"] == "2"


def test_other_content_under_a_taken_name_is_refused(local: Local) -> None:
    platform = local.deployed("blue")
    with pytest.raises(ResourceRefused, match="something else"):
        platform.create(local.deployment("blue", source=APP + "# changed\n"))


def test_a_deployment_with_traffic_is_not_deleted(local: Local) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    with pytest.raises(PlatformConflict, match="100 %"):
        platform.delete(DEPLOYMENT, "blue", endpoint="shout-local")
    set_traffic(platform, {"blue": 0})
    platform.delete(DEPLOYMENT, "blue", endpoint="shout-local")
    eventually(lambda: platform.get(DEPLOYMENT, "blue", endpoint="shout-local") is None)
    assert platform.traffic("shout-local").weights == {}


def test_a_prompt_flow_that_cannot_be_opened_fails_with_its_place_and_its_log(local: Local) -> None:
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("broken", source="print('so far', flush=True)\nraise RuntimeError('no model')\n"))
    found = until_settled(platform, "broken")
    assert found.state == "Failed"
    assert "app.py:2" in found.message
    assert "no model" in found.message
    assert "so far" in platform.logs(DEPLOYMENT, "broken", endpoint="shout-local")
    with pytest.raises(PlatformConflict, match="not healthy"):
        set_traffic(platform, {"broken": 100})
    platform.delete(DEPLOYMENT, "broken", endpoint="shout-local")
    eventually(lambda: not platform.owned(DEPLOYMENT, endpoint="shout-local"))


def test_a_failed_deployment_may_be_tried_again(local: Local) -> None:
    flag = local.folder / "flag"
    source = APP + f"\nif not os.path.exists({str(flag)!r}): raise RuntimeError('not yet')\n"
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("blue", source=source))
    assert until_settled(platform, "blue").state == "Failed"
    flag.touch()
    platform.create(local.deployment("blue", source=source))
    assert until_settled(platform, "blue").state == "Succeeded"


def test_a_server_that_ends_at_its_start_fails_with_its_exit_code(local: Local) -> None:
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("blue", source="import os\nprint('bye', flush=True)\nos._exit(7)\n"))
    assert "exit code 7" in until_settled(platform, "blue").message
    assert "bye" in platform.logs(DEPLOYMENT, "blue", endpoint="shout-local")


def test_a_server_that_never_gets_ready_fails_after_the_deadline(local: Local) -> None:
    local.limits = type(local.limits)(start_seconds=0.5, end_seconds=0.2)
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("blue", source="import time\ntime.sleep(60)\n"))
    assert "not ready after 0.5 s" in until_settled(platform, "blue").message


def test_a_missing_runtime_fails_the_deployment(local: Local) -> None:
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    local.runtime = Path("/nowhere/bin/python")
    platform.create(local.deployment("blue"))
    assert "/nowhere/bin/python" in until_settled(platform, "blue").message


def test_deleting_an_endpoint_ends_everything(local: Local) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    pid = platform.invoke("shout-local", {"text": "a"}).body["pid"]
    gateway = live_gateway(EndpointFolder.of(local.state, "shout-local"))
    platform.delete(ENDPOINT, "shout-local")
    eventually(lambda: platform.get(ENDPOINT, "shout-local") is None)
    eventually(lambda: not psutil.pid_exists(pid))
    eventually(lambda: live_gateway(EndpointFolder.of(local.state, "shout-local")) is None)
    assert gateway is not None
    platform.delete(ENDPOINT, "shout-local")  # absent is done
    with pytest.raises(ResourceNotFound):
        platform.traffic("shout-local")
    platform.create(Endpoint("shout-local"))  # the name is free again
    assert platform.get(ENDPOINT, "shout-local").state == "Succeeded"


def test_what_is_not_ours_is_left_alone(local: Local) -> None:
    platform = local.deployed()
    stop_all(local.state)
    file = EndpointFolder.of(local.state, "shout-local").path / "endpoint.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tags": {}}))
    assert platform.owned(ENDPOINT) == []
    with pytest.raises(ResourceRefused):
        platform.create(Endpoint("shout-local"))
    with pytest.raises(ResourceRefused):
        platform.delete(ENDPOINT, "shout-local")
    assert file.exists()


def test_what_does_not_run_can_be_read_and_deleted(local: Local) -> None:
    platform = local.deployed("blue", "green", weights={"blue": 100})
    assert stop_all(local.state) == ["shout-local"]
    assert platform.get(ENDPOINT, "shout-local").state == "Stopped"
    assert platform.get(DEPLOYMENT, "blue", endpoint="shout-local").state == "Stopped"
    assert [e.pid for e in running(local.state)] == [None]
    assert platform.traffic("shout-local").weights == {"blue": 100}
    platform.delete(DEPLOYMENT, "green", endpoint="shout-local")
    assert [d.name for d in platform.owned(DEPLOYMENT)] == ["blue"]
    with pytest.raises(PlatformConflict):
        platform.delete(DEPLOYMENT, "blue", endpoint="shout-local")
    platform.delete(ENDPOINT, "shout-local")
    assert platform.get(ENDPOINT, "shout-local") is None


@pytest.mark.parametrize("name", ["web_classification", "ab", "a" * 33, "-a-"])
def test_bad_names_are_refused_before_anything_is_created(local: Local, name: str) -> None:
    platform = local.platform()
    with pytest.raises(ConfigurationError, match="is not valid"):
        platform.create(Endpoint(name))
    with pytest.raises(ConfigurationError, match="is not valid"):
        platform.create(local.deployment(name))
    assert not local.state.exists()


def test_a_port_in_use_is_refused_with_the_key_that_sets_it(local: Local) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"{port}.*endpoint\.port"):
            local.platform(port).create(Endpoint("shout-local"))
    local.platform(port).create(Endpoint("shout-local"))
    assert local.platform().url("shout-local") == f"http://127.0.0.1:{port}/score"


def test_two_endpoints_live_side_by_side(local: Local) -> None:
    platform = local.deployed("blue")
    platform.create(Endpoint("other-local"))
    platform.create(local.deployment("blue", endpoint="other-local"))
    until_settled(platform, "blue", "other-local")
    assert platform.url("shout-local") != platform.url("other-local")
    assert len(platform.owned(DEPLOYMENT)) == 2
    assert len(platform.owned(DEPLOYMENT, endpoint="other-local")) == 1
    platform.delete(ENDPOINT, "other-local")
    eventually(lambda: [e.name for e in platform.owned(ENDPOINT)] == ["shout-local"])
    assert platform.invoke("shout-local", {"text": "a"}, deployment="blue").status == 200


def test_a_state_folder_with_a_very_long_path(local: Local) -> None:
    local.folder = local.folder / ("deep" * 20) / ("deeper" * 20)
    local.folder.mkdir(parents=True)
    try:
        platform = local.deployed("blue", weights={"blue": 100})
        assert platform.invoke("shout-local", {"text": "a"}).status == 200
    finally:
        stop_all(local.state)


def test_a_stopped_gateway_leaves_no_socket(local: Local) -> None:
    platform = local.deployed()
    socket_file = Path(EndpointFolder.of(local.state, "shout-local").load().socket)
    assert socket_file.is_socket()
    stop_all(local.state)
    assert not socket_file.exists()
    platform.create(Endpoint("shout-local"))
    assert socket_file.is_socket()
