"""Endpoints whose files were damaged or removed by hand: the others go on, and no gateway is left behind."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import psutil
import pytest
from local_endpoints import Local, eventually, until_settled

from orchestration import processes
from orchestration.errors import PlatformError, ResourceDamaged
from orchestration.platforms.base import DAMAGED, Endpoint, OnlineDeployment
from orchestration.platforms.local.desired import DesiredEndpoint
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway, stop_all
from orchestration.processes import Daemon

ENDPOINT, DEPLOYMENT = Endpoint.kind, OnlineDeployment.kind
CURE = "sluice endpoint delete shout-local --yes"


def sound(name: str = "shout-local") -> dict:
    return {"format": 1, "name": name, "deployments": {}}


DAMAGE = {
    "nothing": "",
    "half of it": '{"format": 1, "name": "shout-loc',
    "no text": "\udcff\udcfe",
    "another kind": "[]",
    "another format": json.dumps(sound() | {"format": 2}),
    "no deployments": json.dumps({"format": 1, "name": "shout-local"}),
    "deployments of another kind": json.dumps(sound() | {"deployments": []}),
    "weights of another kind": json.dumps(sound() | {"weights": [100]}),
    "a copy of another": json.dumps(sound("other-local")),
    "a field too many": json.dumps(sound() | {"colour": "blue"}),
}


@pytest.fixture
def folder(tmp_path: Path) -> EndpointFolder:
    made = EndpointFolder.of(tmp_path, "shout-local")
    made.create(DesiredEndpoint("shout-local"))
    return made


@pytest.mark.parametrize("text", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_state_is_named_with_its_file_and_the_cure(folder: EndpointFolder, text: str) -> None:
    folder.state_file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ResourceDamaged) as raised:
        folder.load()
    assert str(folder.state_file) in raised.value.message
    assert CURE in raised.value.cure
    assert len(str(raised.value).splitlines()) == 1


def test_a_state_that_is_no_file_is_damaged(folder: EndpointFolder) -> None:
    folder.state_file.unlink()
    folder.state_file.mkdir()
    with pytest.raises(ResourceDamaged, match="Is a directory"):
        folder.load()


@pytest.mark.parametrize("key", ["", "short", None])
def test_without_its_key_an_endpoint_lets_nobody_in(folder: EndpointFolder, key: str | None) -> None:
    assert len(folder.key()) >= 32
    (folder.path / "key").unlink()
    if key is not None:
        (folder.path / "key").write_text(key)
    with pytest.raises(ResourceDamaged, match="key can't be read"):
        folder.key()


def test_a_removal_that_was_killed_leaves_nothing_for_long(folder: EndpointFolder) -> None:
    grave = folder.path.with_name(".shout-local.0123")
    folder.path.rename(grave)
    folder.create(DesiredEndpoint("shout-local"))
    assert not grave.exists()


def gateway(local: Local, name: str = "shout-local") -> Daemon:
    found = live_gateway(EndpointFolder.of(local.state, name))
    assert found is not None
    return found


@pytest.fixture
def two(local: Local) -> Local:
    """Two endpoints that run; the state of the first is damaged."""
    platform = local.deployed("blue", weights={"blue": 100})
    platform.create(Endpoint("other-local", {"environment": "dev"}))
    platform.create(local.deployment("blue", endpoint="other-local"))
    until_settled(platform, "blue", "other-local")
    EndpointFolder.of(local.state, "shout-local").state_file.write_text("{")
    return local


@pytest.mark.real
def test_a_damaged_endpoint_stands_in_nobodys_way(two: Local, caplog: pytest.LogCaptureFixture) -> None:
    platform = two.platform()
    found = {each.name: each for each in platform.owned(ENDPOINT)}
    assert (found["shout-local"].state, found["other-local"].state) == (DAMAGED, "Succeeded")
    assert CURE in found["shout-local"].message
    assert [each.name for each in platform.owned(DEPLOYMENT)] == ["blue"]
    assert CURE in caplog.text
    assert [each.name for each in platform.owned(DEPLOYMENT, endpoint="other-local")] == ["blue"]
    assert platform.invoke("other-local", {"text": "a"}, deployment="blue").status == 200
    assert [line.partition(":")[0] for line in platform.start_all()] == ["shout-local"]
    for use in (
        lambda: platform.get(ENDPOINT, "shout-local"),
        lambda: platform.traffic("shout-local"),
        lambda: platform.create(Endpoint("shout-local")),
        lambda: platform.owned(DEPLOYMENT, endpoint="shout-local"),
    ):
        with pytest.raises(ResourceDamaged, match=CURE):
            use()


@pytest.mark.real
def test_deleting_a_damaged_endpoint_ends_its_processes_first(two: Local) -> None:
    platform, daemon = two.platform(), gateway(two)
    servers = psutil.Process(daemon.pid).children(recursive=True)
    assert servers
    platform.delete(ENDPOINT, "shout-local")
    assert not processes.alive(daemon)
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in servers)
    assert platform.get(ENDPOINT, "shout-local") is None
    platform.create(Endpoint("shout-local"))  # the name is free again
    assert [each.name for each in platform.owned(ENDPOINT)] == ["other-local", "shout-local"]


@pytest.mark.real
@pytest.mark.parametrize("record", ["", "{", None])
def test_a_gateway_whose_record_was_lost_is_used_and_ended(local: Local, record: str | None) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    daemon, file = gateway(local), EndpointFolder.of(local.state, "shout-local").path / "gateway.json"
    file.unlink()
    if record is not None:
        file.write_text(record)
    assert platform.get(ENDPOINT, "shout-local").state == "Succeeded"
    platform.create(Endpoint("shout-local"))
    assert gateway(local) == daemon
    assert stop_all(local.state, limits=local.limits) == ["shout-local"]
    assert not processes.alive(daemon)


@pytest.mark.real
def test_a_gateway_whose_endpoint_was_removed_ends_by_itself(local: Local) -> None:
    local.deployed("blue", weights={"blue": 100})
    daemon = gateway(local)
    servers = psutil.Process(daemon.pid).children(recursive=True)
    shutil.rmtree(local.state / "endpoints")
    eventually(lambda: not processes.alive(daemon))
    eventually(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in servers))


@pytest.mark.real
@pytest.mark.parametrize("lost", ["endpoint.json", "."])
def test_an_endpoint_that_was_removed_by_hand_is_made_anew_at_once(local: Local, lost: str) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    folder, daemon = EndpointFolder.of(local.state, "shout-local"), gateway(local)
    if lost == ".":
        shutil.rmtree(folder.path)
    else:
        (folder.path / lost).unlink()
    platform.create(Endpoint("shout-local"))
    assert not processes.alive(daemon)
    assert gateway(local) != daemon
    platform.create(local.deployment("blue"))
    until_settled(platform, "blue")
    assert platform.invoke("shout-local", {"text": "a"}, deployment="blue").status == 200


@pytest.mark.real
def test_a_gateway_that_nobody_can_name_is_ended_with_all_others(local: Local) -> None:
    local.deployed()
    daemon = gateway(local)
    os.kill(daemon.pid, 19)  # so that it does not end by itself first
    shutil.rmtree(local.state / "endpoints")
    os.kill(daemon.pid, 18)
    assert stop_all(local.state, limits=local.limits) == ["shout-local"]
    assert not processes.alive(daemon)


@pytest.mark.real
def test_a_gateway_without_its_key_does_not_start(local: Local) -> None:
    platform = local.deployed()
    stop_all(local.state, limits=local.limits)
    EndpointFolder.of(local.state, "shout-local").path.joinpath("key").write_text("")
    with pytest.raises(PlatformError, match=CURE):
        platform.create(Endpoint("shout-local"))
