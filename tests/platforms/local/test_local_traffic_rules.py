from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from orchestration.errors import ConfigurationError, PlatformConflict, ResourceRefused, SluiceError
from orchestration.platforms.base import OWNER_TAG
from orchestration.platforms.local.desired import (
    DELETING,
    Deployment,
    DesiredEndpoint,
    ServerSpec,
    admit,
    change_traffic,
    dismiss,
    from_json,
    to_json,
)
from orchestration.values import Binding, ModelVersion

NAMES = ["blue", "green", "red"]
WEIGHTS = st.dictionaries(st.sampled_from([*NAMES, "absent"]), st.integers(-1, 101), max_size=4)
MAPS = WEIGHTS | st.permutations(NAMES).flatmap(
    lambda names: st.integers(0, 100).map(lambda share: {names[0]: share, names[1]: 100 - share})
)


def spec(content: str = "c") -> ServerSpec:
    model = ModelVersion("shout", "1", content, "decision", "file:///models/shout")
    return ServerSpec("/models/shout", "/runtime/python", None, model, Binding("local", {"a": {"type": "llm"}}, "b"))


def deployment(name: str, content: str = "c", **tags: str) -> Deployment:
    return Deployment(name, spec(content), {OWNER_TAG: "", **tags})


class TrafficRules(RuleBasedStateMachine):
    """Whatever is asked in whatever order, the map stays valid and the one before it is known."""

    deployments = Bundle("deployments")

    def __init__(self) -> None:
        super().__init__()
        self.endpoint = DesiredEndpoint("shout-local", {OWNER_TAG: ""})
        self.healthy: set[str] = set()
        self.history = [self.endpoint]

    @rule(target=deployments, name=st.sampled_from(NAMES))
    def create(self, name: str) -> object:
        self.endpoint = admit(self.endpoint, deployment(name))
        return multiple() if name in self.healthy else name

    @rule(name=deployments)
    def recover(self, name: str) -> None:
        if name in self.endpoint.deployments:
            self.healthy.add(name)

    @rule(name=deployments)
    def crash(self, name: str) -> None:
        self.healthy.discard(name)

    @rule(name=consumes(deployments))
    def delete(self, name: str) -> None:
        if name not in self.endpoint.deployments:
            return
        if self.endpoint.weights.get(name, 0):
            with pytest.raises(PlatformConflict):
                dismiss(self.endpoint, name)
            return
        before = self.endpoint.traffic
        self.endpoint = dismiss(self.endpoint, name).without(name)
        self.healthy.discard(name)
        live = {k: w for k, w in before.weights.items() if w}
        assert {k: w for k, w in self.endpoint.weights.items() if w} == live

    @rule(weights=MAPS, stale=st.integers(0, 1))
    def set_traffic(self, weights: dict[str, int], stale: int) -> None:
        before = self.endpoint
        try:
            after = change_traffic(before, weights, generation=before.generation - stale, healthy=self.healthy)
        except SluiceError:
            return
        assert not stale
        assert dict(after.weights) == weights
        assert all(name in self.healthy for name, weight in weights.items() if weight)
        if dict(before.weights) == weights:
            assert after is before
        else:
            assert after.previous == before.weights
            assert after.generation == before.generation + 1
        self.endpoint = after

    @invariant()
    def the_map_is_valid(self) -> None:
        weights = self.endpoint.weights
        assert sum(weights.values()) in (0, 100)
        assert set(weights) <= set(self.endpoint.deployments)
        assert from_json(json.loads(json.dumps(to_json(self.endpoint)))) == self.endpoint


TestTrafficRules = TrafficRules.TestCase
TestTrafficRules.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


def endpoint(*names: str, **weights: int) -> DesiredEndpoint:
    made = DesiredEndpoint("shout-local", {OWNER_TAG: ""}, weights=weights)
    for name in names:
        made = made.put(deployment(name))
    return made


@settings(deadline=None)
@given(st.integers(-5, 5).filter(bool))
def test_another_generation_is_a_conflict(off: int) -> None:
    with pytest.raises(PlatformConflict, match="changed meanwhile"):
        change_traffic(endpoint("blue"), {"blue": 100}, generation=off, healthy={"blue"})


@pytest.mark.parametrize(
    "weights", [{"blue": 99}, {"blue": 101}, {"blue": -1, "green": 101}, {"blue": True}, {"blue": 50.0}]
)
def test_weights_that_are_no_whole_hundred_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError):
        change_traffic(endpoint("blue", "green"), weights, generation=0, healthy={"blue", "green"})


def test_a_repeated_write_keeps_the_previous_map() -> None:
    both = endpoint("blue", "green", blue=100)
    once = change_traffic(both, {"green": 100}, generation=0, healthy=NAMES)
    again = change_traffic(once, {"green": 100}, generation=1, healthy=NAMES)
    assert again.previous == {"blue": 100}
    assert again.generation == 1


def test_nothing_is_created_or_routed_in_an_endpoint_that_is_being_deleted() -> None:
    going = DesiredEndpoint("shout-local", state=DELETING)
    with pytest.raises(PlatformConflict):
        admit(going, deployment("blue"))
    with pytest.raises(PlatformConflict):
        change_traffic(going, {}, generation=0, healthy=())


def test_the_same_is_adopted_with_the_new_tags() -> None:
    adopted = admit(endpoint("blue"), deployment("blue", run="2"))
    assert adopted.deployments["blue"].tags == {OWNER_TAG: "", "run": "2"}


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(ResourceRefused, match="something else"):
        admit(endpoint("blue"), deployment("blue", content="other"))


def test_what_is_not_ours_is_neither_adopted_nor_deleted() -> None:
    foreign = DesiredEndpoint("shout-local").put(Deployment("blue", spec()))
    with pytest.raises(ResourceRefused):
        admit(foreign, deployment("blue"))
    with pytest.raises(ResourceRefused):
        dismiss(foreign, "blue")
