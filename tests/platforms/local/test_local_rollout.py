"""Releases under load: callers notice nothing, and the traffic never points at what is not healthy."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from local_endpoints import Local, eventually, set_traffic, until_settled

from orchestration.errors import PlatformConflict, PlatformUnavailable
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway
from orchestration.platforms.local.platform import LocalPlatform
from orchestration.values import Traffic

pytestmark = pytest.mark.real
DEPLOYMENT = OnlineDeployment.kind


@contextmanager
def load(local: Local, threads: int = 4) -> Iterator[Counter[tuple[int, str]]]:
    """Continuous requests by weight; counts answers by status and deployment."""
    answers: Counter[tuple[int, str]] = Counter()
    stop = threading.Event()

    def call() -> None:
        platform = local.platform()
        while not stop.is_set():
            answer = platform.invoke("shout-local", {"text": "a", "sleep": 0.005})
            answers[answer.status, answer.deployment] += 1

    callers = [threading.Thread(target=call) for _ in range(threads)]
    for caller in callers:
        caller.start()
    try:
        yield answers
    finally:
        stop.set()
        for caller in callers:
            caller.join()


def seen(answers: Counter[tuple[int, str]], name: str, count: int = 20) -> None:
    before = answers[200, name]
    eventually(lambda: answers[200, name] >= before + count)


def history(local: Local) -> list[dict[str, Any]]:
    file = EndpointFolder.of(local.state, "shout-local").history
    return [json.loads(line) for line in file.read_text().splitlines()]


def check_history(local: Local) -> None:
    entries = history(local)
    assert [e["generation"] for e in entries] == list(range(1, len(entries) + 1))
    for entry in entries:
        assert sum(entry["weights"].values()) in (0, 100)
        for name, weight in entry["weights"].items():
            assert not weight or entry["states"][name] == "Succeeded"


def step(platform: LocalPlatform, local: Local, name: str) -> None:
    platform.create(local.deployment(name))
    assert until_settled(platform, name).state == "Succeeded"


def test_ten_releases_under_load_lose_no_request(local: Local) -> None:
    platform = local.deployed("v-0", weights={"v-0": 100})
    with load(local) as answers:
        for number in range(1, 10):
            old, new = f"v-{number - 1}", f"v-{number}"
            step(platform, local, new)
            set_traffic(platform, {old: 90, new: 10})
            seen(answers, new, 2)
            set_traffic(platform, {old: 0, new: 100})
            platform.delete(DEPLOYMENT, old, endpoint="shout-local")
            seen(answers, new)
        eventually(lambda: [d.name for d in platform.owned(DEPLOYMENT)] == ["v-9"])
    assert {status for status, _ in answers} == {200}, answers
    assert sum(answers.values()) > 300
    check_history(local)


def test_a_rollback_under_load_loses_no_request(local: Local) -> None:
    platform = local.deployed("blue", "green", weights={"blue": 100})
    with load(local) as answers:
        switched = set_traffic(platform, {"blue": 0, "green": 100})
        seen(answers, "green")
        back = platform.set_traffic("shout-local", switched.previous, generation=switched.generation)
        again = platform.set_traffic("shout-local", switched.previous, generation=back.generation)
        seen(answers, "blue")
    assert again == back
    assert {status for status, _ in answers} == {200}, answers
    check_history(local)


def test_slow_requests_outlive_the_removal_of_their_deployment(local: Local) -> None:
    platform = local.deployed("blue", "green", weights={"blue": 100})
    answers: list[Any] = []
    slow = threading.Thread(
        target=lambda: answers.append(platform.invoke("shout-local", {"text": "a", "sleep": 1.5}, deployment="blue"))
    )
    slow.start()
    eventually(lambda: in_flight(local, "blue"))
    set_traffic(platform, {"blue": 0, "green": 100})
    platform.delete(DEPLOYMENT, "blue", endpoint="shout-local")
    assert platform.get(DEPLOYMENT, "blue", endpoint="shout-local").state == "Deleting"
    assert platform.invoke("shout-local", {"text": "a"}, deployment="blue").status == 404
    with pytest.raises(PlatformConflict, match="being deleted"):
        platform.create(local.deployment("blue"))
    slow.join()
    assert (answers[0].status, answers[0].body["by"]) == (200, "blue")
    eventually(lambda: platform.get(DEPLOYMENT, "blue", endpoint="shout-local") is None)


def in_flight(local: Local, name: str) -> bool:
    # The server's connection from the gateway stands: the request has arrived or is about to.
    gateway = live_gateway(EndpointFolder.of(local.state, "shout-local"))
    assert gateway is not None
    servers = psutil.Process(gateway.pid).children()
    return any(c.status == psutil.CONN_ESTABLISHED for s in servers for c in s.net_connections())


def test_a_writer_with_an_old_generation_changes_nothing(local: Local) -> None:
    platform = local.deployed("blue", "green", weights={"blue": 100})
    stale = platform.traffic("shout-local").generation
    set_traffic(platform, {"blue": 50, "green": 50})
    with pytest.raises(PlatformConflict, match="changed meanwhile"):
        platform.set_traffic("shout-local", {"green": 100}, generation=stale)
    assert platform.traffic("shout-local").weights == {"blue": 50, "green": 50}
    check_history(local)


def test_of_writers_at_the_same_time_one_wins(local: Local) -> None:
    from concurrent.futures import ThreadPoolExecutor

    platform = local.deployed("blue", "green", weights={"blue": 100})
    generation = platform.traffic("shout-local").generation

    def write(share: int) -> bool:
        try:
            local.platform().set_traffic("shout-local", {"blue": share, "green": 100 - share}, generation=generation)
        except PlatformConflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(write, range(10, 70, 10))) == 1
    assert platform.traffic("shout-local").generation == generation + 1
    check_history(local)


def test_a_gateway_killed_while_traffic_is_written_leaves_one_of_the_maps_and_notes_each(local: Local) -> None:
    platform = local.deployed("blue", "green", weights={"blue": 100, "green": 0})
    folder = EndpointFolder.of(local.state, "shout-local")
    chance = random.Random(1)
    for _ in range(4):
        before = platform.traffic("shout-local")
        daemon = live_gateway(folder)
        assert daemon is not None
        killer = threading.Timer(chance.uniform(0.01, 0.15), os.kill, (daemon.pid, signal.SIGKILL))
        killer.start()
        accepted = write_until_refused(platform, before)
        killer.join()
        eventually(lambda: live_gateway(folder) is None)
        left = platform.traffic("shout-local")
        assert left == accepted or (left.generation == accepted.generation + 1 and left.previous == accepted.weights)
        platform.create(Endpoint("shout-local"))
        for name in ("blue", "green"):
            until_settled(platform, name)
        assert platform.traffic("shout-local") == left
    check_history(local)


def write_until_refused(platform: LocalPlatform, traffic: Traffic) -> Traffic:
    """Change the traffic again and again until the gateway is gone; the last map that it confirmed."""
    try:
        while True:
            share = (traffic.weights["blue"] + 10) % 110
            weights = {"blue": share, "green": 100 - share}
            traffic = platform.set_traffic("shout-local", weights, generation=traffic.generation)
    except PlatformUnavailable:
        return traffic
