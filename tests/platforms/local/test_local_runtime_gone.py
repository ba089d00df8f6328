"""A runtime whose folder was removed is built anew when its endpoint is brought up."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest
from local_endpoints import Local, eventually, until_settled

from orchestration.errors import PlatformUnavailable
from orchestration.platforms.base import RUNTIME_TAG, Endpoint, OnlineDeployment
from orchestration.platforms.local.launch import stop_all
from orchestration.platforms.local.platform import LocalPlatform

pytestmark = pytest.mark.real
DEPLOYMENT = OnlineDeployment.kind


class Building:
    """Runtimes in folders that can be removed: a script each, which starts the one real interpreter."""

    def __init__(self, local: Local) -> None:
        self.folder, self.real, self.locks = local.folder / "runtimes", local.runtime, list[str]()

    def __call__(self, lock: str) -> Path:
        self.locks.append(lock)
        python = self.folder / str(len(self.locks))
        python.parent.mkdir(exist_ok=True)
        python.write_text(f'#!/bin/sh\nexec {self.real} "$@"\n')
        python.chmod(0o755)
        return python


@pytest.fixture
def building(local: Local) -> Building:
    """`local` with its deployments in the first runtime."""
    made = Building(local)
    local.runtime, local.runtimes = made("first"), made
    (local.folder / "flows").mkdir()
    (local.folder / "flows" / "lock.txt").write_text("the lock")
    return made


def served(platform: LocalPlatform) -> int:
    return platform.invoke("shout-local", {"text": "a"}, deployment="blue").status


def test_after_a_reboot(local: Local, building: Building) -> None:
    platform = local.deployed("blue", weights={"blue": 100})
    stop_all(local.state)
    local.runtime.unlink()
    platform.create(Endpoint("shout-local"))
    assert until_settled(platform, "blue").state == "Succeeded"
    assert building.locks == ["first", "the lock"]
    found = platform.get(DEPLOYMENT, "blue", endpoint="shout-local")
    assert found.tags[RUNTIME_TAG] == str(building.folder / "2")  # what is in use is not tidied away
    platform.create(Endpoint("shout-local"))
    assert len(building.locks) == 2


def test_under_a_gateway_that_could_not_start_the_server_any_more(local: Local, building: Building) -> None:
    local.limits = type(local.limits)(backoff_seconds=60, backoff_limit_seconds=60, end_seconds=1)
    platform = local.deployed("blue", weights={"blue": 100})
    pid = platform.invoke("shout-local", {"text": "a"}).body["pid"]
    local.runtime.unlink()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: "can't be started" in platform.get(DEPLOYMENT, "blue", endpoint="shout-local").message)
    assert platform.start_all() == []
    eventually(lambda: served(platform) == 200)  # at once, not after a minute


def test_where_it_cannot_be_built_the_others_are_served(
    local: Local, building: Building, caplog: pytest.LogCaptureFixture
) -> None:
    platform = local.deployed("blue")
    local.runtime = building("second")
    platform.create(local.deployment("green"))
    until_settled(platform, "green")
    stop_all(local.state)
    local.runtime.unlink()

    def offline(_: str) -> Path:
        raise PlatformUnavailable("No package index answers.")

    local.runtimes = offline
    with caplog.at_level(logging.WARNING):
        local.platform().create(Endpoint("shout-local"))
    assert "shout-local/green: No package index answers." in caplog.text
    eventually(lambda: served(platform) == 200)
