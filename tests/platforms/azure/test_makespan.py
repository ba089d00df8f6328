"""How long a release takes on durations that are assumed for Azure, in virtual time, beside a pipeline in serial order.

The medians, in seconds, are assumptions: no duration here comes from Azure. Both sides get the same ones.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from azure_emulator import VirtualClock
from azure_emulator.blob import unavailable
from release_world import World, release_world
from tenacity.wait import wait_base, wait_fixed

from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.polling import Clock, wait_until

SECONDS = {
    "set-up": 60.0,
    "identity": 30.0,
    "compute": 240.0,
    "runtime": 300.0,
    "run": 180.0,
    "evaluation": 120.0,
    "gate": 5.0,
    "clean-up": 90.0,
    "second set-up": 60.0,
    "register": 25.0,
    "endpoint": 100.0,
    "deployment": 480.0,
    "check": 10.0,
}
LOOP = 100.0  # how often the serial pipeline asks for what it waits for, without a history
WAITED_FOR = ("compute", "runtime", "deployment")
IN_THE_WORKER = ("set-up", "run", "evaluation", "gate", "register", "check")  # what the emulator has no time for
AT_MOST = 0.6
PHASES = 100  # durations around the median: where in a loop a resource gets ready is chance


def waited(pause: wait_base, seconds: float) -> tuple[float, int]:
    """How late a wait notices what is ready after so many seconds, and how often it asks."""
    clock, asked = VirtualClock(), [0]

    def ready() -> bool | None:
        asked[0] += 1
        return True if clock.now() >= seconds else None

    wait_until(ready, what="it", timeout_seconds=7200, wait=pause, clock=Clock(clock.now, clock.sleep))
    return clock.now() - seconds, asked[0]


def of_waits(pause: wait_base, names: tuple[str, ...]) -> tuple[float, float]:
    """Mean lag and mean number of requests of the waits for these."""
    phases = [phase - PHASES / 2 for phase in range(PHASES)]
    found = [waited(pause, SECONDS[name] + phase) for name in names for phase in phases]
    return statistics.fmean(lag for lag, _ in found), statistics.fmean(asked for _, asked in found)


def released_in(world: World) -> float:
    """Virtual seconds of a whole release from nothing, without those of steps that the emulator does at once."""
    began = world.now
    world.released("blue")
    return world.now - began


@pytest.mark.real
def test_a_release_takes_at_most_so_much_of_the_serial_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    if reason := unavailable():
        pytest.skip(reason)
    with release_world(tmp_path) as world:
        seconds = world.cloud.scenario.seconds
        assert (seconds["PUT onlineEndpoints"], seconds["PUT onlineEndpoints/deployments"]) == (
            SECONDS["endpoint"],
            SECONDS["deployment"],
        )
        ours = sum(SECONDS[name] for name in IN_THE_WORKER) + released_in(world)
        requests = len([each for each in world.cloud.exchanges if "management.azure.com" in each.url])
    lag, _ = of_waits(wait_fixed(LOOP), WAITED_FOR)
    serial = sum(SECONDS.values()) + len(WAITED_FOR) * lag
    with capsys.disabled():
        print(f"\nmakespan: {ours:.0f} s of {serial:.0f} s in serial order, {ours / serial:.2f}; {requests} requests")
    assert ours / serial <= AT_MOST


@pytest.mark.parametrize("name", ["endpoint", "deployment"])
def test_a_wait_notices_sooner_than_the_fixed_loop(
    name: str, patience: Callable[[str], wait_base], capsys: pytest.CaptureFixture
) -> None:
    ours, asked = of_waits(patience(name), (name,))
    theirs, asked_by_them = of_waits(wait_fixed(LOOP), (name,))
    with capsys.disabled():
        print(f"\n{name}: lag {ours:.1f} s with {asked:.1f} requests; loop {theirs:.1f} s with {asked_by_them:.1f}")
    assert ours < 0.15 * theirs
    assert ours * asked < theirs * asked_by_them


@pytest.fixture
def patience(project) -> Callable[[str], wait_base]:
    kinds = {"endpoint": Endpoint.kind, "deployment": OnlineDeployment.kind}
    return lambda name: project.platform.patience(kinds[name]).wait
