"""A release to Azure from nothing, then of a changed prompt flow, in virtual time; and what a decision against it sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from azure_emulator.blob import unavailable
from release_world import DEPLOYMENT, Version, World, release_world
from spec_check import findings

from orchestration.errors import NotAuthorized
from orchestration.steps import register, rollout, serving
from orchestration.steps.stable import PROVEN, Green
from orchestration.values import Verdict

pytestmark = pytest.mark.real  # blob storage: a process


@dataclass
class Story:
    """Two releases; `turn` is how long the history of the cloud was between them."""

    world: World
    blue: Version
    green: Version
    turn: int


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    if reason := unavailable():
        pytest.skip(reason)
    with release_world(tmp_path_factory.mktemp("story")) as world:
        blue = world.released("blue")
        turn = len(world.cloud.arm.history)
        yield Story(world, blue, world.released("green"), turn)


def test_the_first_release_gets_all_of_the_traffic_at_once_and_only_when_it_is_healthy(story: Story) -> None:
    first = story.world.cloud.arm.history[: story.turn]
    healthy = next(c.at for c in first if c.path == story.world.path(story.blue.name) and c.verb == "Succeeded")
    (_, nobody), (since, blue) = story.world.timed_maps()[:2]
    assert (nobody, blue) == ({}, {story.blue.name: 100})
    assert since > healthy


def test_the_traffic_goes_from_blue_to_green_in_steps_and_is_right_at_every_moment(story: Story) -> None:
    blue, green, world = story.blue.name, story.green.name, story.world
    assert world.maps()[1:] == [{blue: 100}, {blue: 90, green: 10}, {blue: 50, green: 50}, {green: 100}]
    moments = [at for at, _ in world.timed_maps(story.turn)]
    watched = [later - earlier for earlier, later in pairwise(moments)]
    assert all(seconds >= world.project.settings.rollout.step_seconds for seconds in watched)
    states: dict[str, str] = {}
    for change in world.cloud.arm.history:  # whatever has traffic can serve, at every entry of the history
        if "/deployments/" in change.path and change.body:
            states[change.path.rpartition("/")[2]] = change.verb
        elif change.path == world.path() and change.body:
            shares = {name: share for name, share in change.body["properties"]["traffic"].items() if share}
            assert sum(shares.values()) in ((0, 100) if len(states) < 2 else (100,)), change
            assert all(states[name] in ("Succeeded", "Updating") for name in shares), (change, states)


def test_what_a_release_leaves(story: Story) -> None:
    found = {each.name: each for each in story.world.platform.owned(DEPLOYMENT, endpoint=story.blue.work.endpoint)}
    assert set(found) == {story.blue.name, story.green.name}  # the way back is kept
    assert PROVEN in found[story.green.name].tags
    traffic = story.world.platform.traffic(story.blue.work.endpoint)
    assert (traffic.weights, traffic.previous) == ({story.green.name: 100}, {story.blue.name: 100})
    versions = [key for key in story.world.cloud.arm.resources if "/models/" in key and "/versions/" in key]
    assert len(versions) == 2


def test_what_serves_already_is_left_alone(story: Story) -> None:
    before = len(story.world.project.writes)
    again = story.world.judged("green")
    found = serving.check(again.work, clock=story.world.clock)
    assert found is not None
    assert found.deployment.name == story.green.name
    assert len(story.world.project.writes) == before


@pytest.mark.parametrize(
    ("right", "verdict"),
    [((0.0, 0.0, 0.0, 1.0), Verdict.FAIL), (("(Failed)",) * 4, Verdict.BROKEN), ((None,) * 4, Verdict.BROKEN)],
)
def test_a_decision_against_it_sends_no_write(story: Story, right: tuple[object, ...], verdict: Verdict) -> None:
    world, before = story.world, len(story.world.cloud.exchanges)
    judged = world.judged(f"{verdict} {right[0]}", right)
    assert judged.judged.decision.verdict is verdict
    with pytest.raises(NotAuthorized):
        register.register_model(judged.work, judged.judged)
    plan = Green(judged.name, {story.green.name: 100}, {})
    with pytest.raises(NotAuthorized):
        rollout.create_deployment(judged.work, plan, judged.judged, story.green.registered, clock=world.clock)
    sent = [each for each in world.cloud.exchanges[before:] if each.method in ("PUT", "PATCH", "DELETE")]
    assert sent == []  # neither to Resource Manager nor to the storage


def test_all_that_was_sent_is_as_published(story: Story, tmp_path: Path) -> None:
    assert findings(story.world.cloud, tmp_path) == []
