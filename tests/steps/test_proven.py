"""A release counts when its last step was watched to the end, not when its traffic was written."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rollouts import ENDPOINT, Rollouts

from orchestration.errors import PlatformError
from orchestration.steps import operate, rollout, serving, stable
from orchestration.steps.operate import Target

pytestmark = pytest.mark.real


def killed_at_100(rollouts: Rollouts, name: str):
    """A version that got all of the traffic and was killed before that was proven."""
    version = rollouts.passed(name)
    rollouts.shift(version, rollouts.begin(version))
    rollouts.kill()
    return version


def test_what_was_released_is_left_alone(rollouts: Rollouts) -> None:
    blue = rollouts.released("blue")
    found = serving.check(blue.work)
    assert found is not None
    assert found.deployment.name == blue.name
    assert rollouts.events(blue) == ["registered", "traffic", "released"]


def test_the_same_again_only_repeats_the_last_step(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), killed_at_100(rollouts, "green")
    before = rollouts.platform.traffic(ENDPOINT)
    assert serving.check(green.work) is None

    rollout.ensure_endpoint(green.work)
    resumed = stable.settle(green.work)
    assert (resumed.before, rollout.steps(green.work, resumed)) == (blue.all, (100,))
    rollouts.release(green)

    assert rollouts.proven(green)
    assert serving.check(green.work) is not None
    assert (
        rollouts.platform.traffic(ENDPOINT) == before
    )  # nobody was sent back in between, and blue is still the way back
    assert rollouts.deployments == {blue.name, green.name}
    assert rollouts.events(green)[-2:] == ["traffic", "released"]


def test_a_proof_that_fails_goes_back_to_what_was_proven(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), killed_at_100(rollouts, "green")
    rollout.ensure_endpoint(green.work)
    resumed = stable.settle(green.work)
    rollout.roll_back(green.work, resumed, green.judged, PlatformError("It answers wrongly."))
    assert (rollouts.traffic, rollouts.deployments) == (blue.all, {blue.name})


def test_another_content_starts_from_what_was_proven(rollouts: Rollouts) -> None:
    blue, _, red = rollouts.released("blue"), killed_at_100(rollouts, "green"), rollouts.passed("red")
    rollout.ensure_endpoint(red.work)
    assert stable.settle(red.work).before == blue.all
    assert rollouts.traffic == blue.all
    rollouts.release(red)
    assert rollouts.deployments == {blue.name, red.name}


def test_where_nothing_was_ever_proven_what_serves_goes_on_serving(rollouts: Rollouts) -> None:
    blue, green = killed_at_100(rollouts, "blue"), rollouts.passed("green")
    rollout.ensure_endpoint(green.work)
    assert stable.settle(green.work).before == blue.all
    assert rollouts.traffic == blue.all


def test_a_second_run_of_the_same_that_waited_its_turn_keeps_proof_and_way_back(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.released("green")
    second = rollouts.begin(green)  # it was found missing before the first run had released it
    assert rollouts.proven(green)
    rollouts.shift(green, second)
    rollout.finish(green.work, second, green.judged)
    assert rollout.remove_old(green.work, second) == []
    assert (rollouts.traffic, rollouts.previous) == (green.all, blue.all)
    assert rollouts.deployments == {blue.name, green.name}


def test_a_rollback_neither_goes_to_what_was_not_proven_nor_to_half_a_rollout(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), killed_at_100(rollouts, "green")
    at = Target(green.work, rollouts.platform)
    rollout.ensure_endpoint(green.work)
    rollouts.until(blue, "Succeeded")
    assert operate.go_back(at).weights == blue.all
    rollouts.until(green, "Succeeded")
    with pytest.raises(PlatformError, match="before it was proven"):
        operate.go_back(at)
    rollouts.shift(green, rollouts.begin(green), 10)
    assert operate.go_back(at).previous == {}
    with pytest.raises(PlatformError, match="no earlier traffic"):
        operate.go_back(at)


def test_looking_at_what_serves_needs_no_mlflow(rollouts: Rollouts) -> None:
    rollouts.released("blue")
    code = (
        "import sys; from orchestration.steps import prepare, serving; from orchestration.values import Request\n"
        "assert serving.check(prepare.take(Request('tiny', 'local'))) is not None\n"
        "assert 'mlflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=rollouts.project.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
