"""Undoing a rollout: the traffic goes to what can serve, and the way back before that is kept."""

from __future__ import annotations

import pytest
from rollouts import Rollouts

from orchestration.errors import PlatformError, PlatformUnavailable, ProvisioningFailed
from orchestration.steps import operate, rollout
from orchestration.steps.operate import Target

pytestmark = pytest.mark.real
PROBLEM = ProvisioningFailed("It answers wrongly.", logs="its last lines")


def test_a_rollout_that_is_undone_keeps_the_way_back_before_it(rollouts: Rollouts) -> None:
    blue, green, red = rollouts.released("blue"), rollouts.released("green"), rollouts.passed("red")
    begun = rollouts.begin(red)
    rollouts.shift(red, begun, 10, 50)
    back = rollout.roll_back(red.work, begun, red.judged, PROBLEM)
    assert (back.problem, back.logs) == ("It answers wrongly.", "its last lines")
    assert (rollouts.traffic, rollouts.previous) == (green.all, blue.all)
    assert rollouts.deployments == {blue.name, green.name}
    assert rollouts.events(red)[-1] == "rolled-back"
    assert operate.go_back(Target(green.work, rollouts.platform)).weights == blue.all


def test_going_back_from_an_interrupted_rollout_keeps_the_way_back_before_it(rollouts: Rollouts) -> None:
    blue, green, red = rollouts.released("blue"), rollouts.released("green"), rollouts.passed("red")
    rollouts.shift(red, rollouts.begin(red), 10)  # and then everything is killed
    assert operate.go_back(Target(green.work, rollouts.platform)).weights == green.all
    assert rollouts.previous == blue.all


def test_settling_an_interrupted_rollout_keeps_the_way_back_before_it(rollouts: Rollouts) -> None:
    blue, green, red = rollouts.released("blue"), rollouts.released("green"), rollouts.passed("red")
    rollouts.shift(red, rollouts.begin(red), 10)
    rollouts.begin(rollouts.passed("white"))
    assert (rollouts.traffic, rollouts.previous) == (green.all, blue.all)


def test_a_rollout_that_moved_no_traffic_changes_none_when_it_is_undone(rollouts: Rollouts) -> None:
    rollouts.released("blue")
    rollouts.released("green")
    red = rollouts.passed("red")
    before = rollouts.platform.traffic("tiny-local")
    rollout.roll_back(red.work, rollouts.begin(red), red.judged, PROBLEM)
    assert rollouts.platform.traffic("tiny-local") == before


def test_what_it_came_from_is_waited_for_if_it_is_just_being_started_again(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    begun = rollouts.begin(green)
    rollouts.shift(green, begun, 10)
    rollouts.kill_server(blue)
    assert rollout.roll_back(green.work, begun, green.judged, PROBLEM).traffic.weights == blue.all


def test_where_it_came_from_a_dead_one_the_one_before_serves(rollouts: Rollouts) -> None:
    blue, green, red = rollouts.released("blue"), rollouts.released("green"), rollouts.passed("red")
    begun = rollouts.begin(red)
    rollouts.shift(red, begun, 10)
    rollouts.ruin(green)
    rollouts.kill_server(green)
    rollouts.until(green, "Failed")
    assert rollout.roll_back(red.work, begun, red.judged, PROBLEM).traffic.weights == blue.all


def test_where_nothing_else_can_serve_nobody_does(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    begun = rollouts.begin(green)
    rollouts.shift(green, begun, 10)
    rollouts.ruin(blue)
    rollouts.kill_server(blue)
    rollouts.until(blue, "Failed")
    back = rollout.roll_back(green.work, begun, green.judged, PROBLEM)
    assert (back.traffic.weights, back.problem) == ({}, "It answers wrongly.")
    assert rollouts.deployments == {blue.name}


def test_both_reasons_are_told_where_it_can_not_be_undone(rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch) -> None:
    rollouts.released("blue")
    green = rollouts.passed("green")
    begun = rollouts.begin(green)
    rollouts.shift(green, begun, 10)
    endpoint = rollouts.folder.state_file
    state = endpoint.read_text()
    endpoint.write_text(state.replace('"generation": ', '"generation": 9'))  # somebody writes traffic by hand
    with pytest.raises(
        PlatformError, match=r"^It answers wrongly\. It could not be undone: The traffic of tiny-local was"
    ):
        rollout.roll_back(green.work, begun, green.judged, PROBLEM)
    endpoint.write_text(state)


def test_a_gateway_that_was_killed_in_mid_rollout_is_brought_back_for_it(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    begun = rollouts.begin(green)
    rollouts.shift(green, begun, 10)
    rollouts.kill()
    with pytest.raises(PlatformUnavailable, match="sluice endpoint start") as lost:
        rollouts.shift(green, begun, 50)
    assert rollout.roll_back(green.work, begun, green.judged, lost.value).traffic.weights == blue.all
    assert rollouts.platform.invoke("tiny-local", {"question": "a"}).body == {"answer": "A"}
    assert rollouts.deployments == {blue.name}


def test_one_that_shares_the_traffic_and_dies_for_a_moment_does_not_end_the_rollout(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    begun = rollouts.begin(green)
    rollouts.kill_server(blue)
    rollouts.shift(green, begun, 10)
    rollouts.kill_server(blue)
    rollouts.shift(green, begun, 50, 100)
    assert rollouts.traffic == green.all


def test_one_that_shares_the_traffic_and_dies_for_good_is_named(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    begun = rollouts.begin(green)
    rollouts.ruin(blue)
    rollouts.kill_server(blue)
    with pytest.raises(PlatformError, match=f"{blue.name} can't serve any more, so {green.name} has nothing to share"):
        rollouts.shift(green, begun, 10)


@pytest.mark.parametrize(("keep", "left"), [(0, "green"), (1, "blue green")])
def test_the_way_back_is_kept_or_not(rollouts: Rollouts, keep: int, left: str) -> None:
    rollouts.set(f"rollout: {{keep: {keep}}}\n")
    versions = {name: rollouts.released(name) for name in ("red", "blue", "green")}
    assert rollouts.deployments == {versions[name].name for name in left.split()}
