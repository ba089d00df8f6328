"""Servers and gateways that die: nothing is lost silently, everything comes back."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import pytest
from local_endpoints import Local, eventually, set_traffic, until_settled

from orchestration import processes
from orchestration.errors import PlatformUnavailable
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway, stop_all
from orchestration.platforms.local.platform import LocalPlatform

pytestmark = pytest.mark.real
DEPLOYMENT = OnlineDeployment.kind


def pid_of(platform: LocalPlatform, name: str) -> int:
    return platform.invoke("shout-local", {"text": "a"}, deployment=name).body["pid"]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_gateway(local: Local) -> None:
    daemon = live_gateway(EndpointFolder.of(local.state, "shout-local"))
    assert daemon is not None
    os.kill(daemon.pid, signal.SIGKILL)
    eventually(lambda: not processes.alive(daemon))


def test_a_killed_server_is_started_again_at_once(local: Local) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    pid = pid_of(platform, "blue")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: platform.invoke("shout-local", {"text": "a"}).status == 200)
    assert pid_of(platform, "blue") != pid
    assert platform.get(DEPLOYMENT, "blue", endpoint="shout-local").state == "Succeeded"
    assert "signal 9" in platform.logs(DEPLOYMENT, "blue", endpoint="shout-local")


def test_a_request_that_kills_its_server_gets_an_honest_answer_and_is_counted(local: Local) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    since = time.time()
    answer = platform.invoke("shout-local", {"text": "a", "do": "exit"})
    assert answer.status == 502
    assert answer.body["error"]["code"] == "ServerDied"
    assert platform.load("shout-local", "blue", since=since).errors >= 1
    eventually(lambda: platform.invoke("shout-local", {"text": "a"}).status == 200)


def test_what_keeps_dying_reads_failed_and_gets_no_new_traffic(local: Local) -> None:
    platform = local.deployed("blue", "green", weights={"blue": 100})
    flow = local.folder / "flows" / "green" / "app.py"
    flow.write_text("raise RuntimeError('broken on disk')\n")
    os.kill(pid_of(platform, "green"), signal.SIGKILL)
    eventually(lambda: platform.get(DEPLOYMENT, "green", endpoint="shout-local").state == "Failed")
    assert "broken on disk" in platform.get(DEPLOYMENT, "green", endpoint="shout-local").message
    answer = platform.invoke("shout-local", {"text": "a"}, deployment="green")
    assert (answer.status, answer.deployment) == (503, "green")
    assert platform.invoke("shout-local", {"text": "a"}).status == 200


def test_a_server_that_hangs_is_replaced(local: Local) -> None:
    local.limits = type(local.limits)(probe_seconds=0.2, probe_failures=2, end_seconds=0.5)
    platform = local.deployed("blue", weights={"blue": 100})
    pid = pid_of(platform, "blue")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: gone(pid))
    eventually(lambda: platform.invoke("shout-local", {"text": "a"}).status == 200)
    assert "looks at its health" in platform.logs(DEPLOYMENT, "blue", endpoint="shout-local")


def test_when_the_gateway_is_killed_its_servers_end_and_all_comes_back_as_it_was(local: Local) -> None:
    platform = local.deployed("blue", "green", weights={"blue": 60, "green": 40})
    set_traffic(platform, {"blue": 30, "green": 70})
    folder = EndpointFolder.of(local.state, "shout-local")
    url, key, traffic = platform.url("shout-local"), folder.key(), platform.traffic("shout-local")
    servers = [pid_of(platform, "blue"), pid_of(platform, "green")]
    kill_gateway(local)
    eventually(lambda: all(gone(pid) for pid in servers))
    with pytest.raises(PlatformUnavailable, match="sluice endpoint start"):
        platform.invoke("shout-local", {"text": "a"})
    with pytest.raises(PlatformUnavailable, match="sluice endpoint start"):
        set_traffic(platform, {"blue": 100, "green": 0})
    assert local.platform().start_all() == []
    assert (platform.url("shout-local"), folder.key(), platform.traffic("shout-local")) == (url, key, traffic)
    for name in ("blue", "green"):
        assert until_settled(platform, name).state == "Succeeded"
    assert platform.invoke("shout-local", {"text": "a"}).status == 200


def test_creating_the_endpoint_again_starts_a_gateway_that_was_killed(local: Local) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    kill_gateway(local)
    platform.create(Endpoint("shout-local"))
    until_settled(platform, "blue")
    assert platform.invoke("shout-local", {"text": "a"}).status == 200


def test_connections_are_given_again_to_a_gateway_that_was_killed(local: Local) -> None:
    local.connections = {"search": {"type": "custom", "values": {"host": "h"}, "secrets": {"key": "s3cret-value"}}}
    source = (
        "def answer(connections):\n    return {'label': connections['search']['values']['host'], 'by': 'VERSION'}\n"
    )
    platform = local.platform()
    platform.create(Endpoint("shout-local"))
    platform.create(local.deployment("blue", source=source))
    until_settled(platform, "blue")
    kill_gateway(local)
    assert local.platform().start_all() == []
    until_settled(platform, "blue")
    assert platform.invoke("shout-local", {}, deployment="blue").body["label"] == "h"


def test_a_connection_that_cannot_be_resolved_any_more_leaves_the_others_served(local: Local) -> None:
    from orchestration.errors import ConfigurationError

    platform = local.deployed("blue", weights={"blue": 100})
    local.connections = {"search": {"type": "custom", "values": {}, "secrets": {}}}
    platform.create(local.deployment("green"))
    until_settled(platform, "green")
    kill_gateway(local)

    def unresolved(_: object) -> dict[str, dict[str, str]]:
        raise ConfigurationError("SEARCH_KEY is not set.")

    started = local.platform()
    started._upstreams = unresolved
    assert started.start_all() == ["shout-local/green: SEARCH_KEY is not set."]
    until_settled(platform, "blue")
    assert platform.invoke("shout-local", {"text": "a"}).status == 200
    found = platform.get(DEPLOYMENT, "green", endpoint="shout-local")
    assert (found.state, found.message) == ("Updating", "It waits for its connections.")
    started.create(Endpoint("shout-local"))  # nor does it stand in the way of a release


def test_a_deletion_is_finished_after_the_gateway_was_killed_in_the_middle(local: Local) -> None:
    platform = local.deployed("blue", "green", weights={"blue": 100})
    kill_gateway(local)
    folder = EndpointFolder.of(local.state, "shout-local")
    folder.save(folder.load().mark("green", "Deleting"))
    platform.create(Endpoint("shout-local"))
    eventually(lambda: platform.get(DEPLOYMENT, "green", endpoint="shout-local") is None)


def test_a_map_that_was_written_but_not_noted_is_noted_at_the_next_start(local: Local) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    stop_all(local.state)
    folder = EndpointFolder.of(local.state, "shout-local")
    folder.history.write_text(folder.history.read_text()[:-20])  # a line cut short by a power loss
    platform.create(Endpoint("shout-local"))
    last = json.loads(folder.history.read_text().splitlines()[-1])
    assert (last["generation"], last["weights"], last["late"]) == (1, {"blue": 100}, True)


def test_stopping_lets_requests_in_flight_finish(local: Local) -> None:
    from concurrent.futures import ThreadPoolExecutor

    platform = local.deployed("blue", weights={"blue": 100})
    pid_of(platform, "blue")
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(platform.invoke, "shout-local", {"text": "a", "sleep": 1}) for _ in range(4)]
        eventually(lambda: all(a.running() for a in answers))
        time.sleep(0.3)  # they are on their way
        stop_all(local.state, limits=local.limits)
        assert [a.result().status for a in answers] == [200] * 4


def test_only_one_gateway_lives_however_many_start_it(local: Local) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: local.platform().create(Endpoint("shout-local")), range(6)))
    mine = [
        p.pid
        for p in psutil.process_iter(["cmdline"])
        if str(local.state) in " ".join(p.info["cmdline"] or []) and p.status() != psutil.STATUS_ZOMBIE
    ]
    daemon = live_gateway(EndpointFolder.of(local.state, "shout-local"))
    assert daemon is not None
    assert mine == [daemon.pid]


def test_a_runtime_that_was_built_anew_is_used_from_the_next_start_on(local: Local) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    pid = pid_of(platform, "blue")
    original, local.runtime = local.runtime, local.folder / "python"
    local.runtime.write_text(f'#!/bin/sh\ntouch {local.folder / "used"}\nexec {original} "$@"\n')
    local.runtime.chmod(0o755)
    platform.create(local.deployment("blue"))
    assert pid_of(platform, "blue") == pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: platform.invoke("shout-local", {"text": "a"}).status == 200)
    assert (local.folder / "used").exists()
