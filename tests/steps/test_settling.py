"""Where a rollout starts from, whatever the one before was killed at."""

from __future__ import annotations

import itertools
import logging
import shutil
from pathlib import Path

import pytest
from rollouts import DEPLOYMENT, ENDPOINT, Rollouts
from small_project import FLOW

from orchestration.errors import ProvisioningFailed
from orchestration.polling import Clock
from orchestration.steps import rollout, serving, stable

pytestmark = pytest.mark.real


def test_a_split_goes_back_to_where_it_began(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    rollouts.shift(green, rollouts.begin(green), 10)
    rollouts.kill()
    rollout.ensure_endpoint(green.work)
    assert stable.settle(green.work).before == blue.all
    assert rollouts.traffic == blue.all


def test_where_what_it_would_go_back_to_is_dead_the_new_one_is_proven_without_traffic_first(
    rollouts: Rollouts, caplog: pytest.LogCaptureFixture
) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    rollouts.shift(green, rollouts.begin(green), 10)
    rollouts.ruin(blue)
    rollouts.kill()

    rollout.ensure_endpoint(green.work)
    with caplog.at_level(logging.WARNING):
        settled = stable.settle(green.work)
    assert (settled.before, rollouts.traffic) == ({}, {})
    assert "Nothing proven can serve on endpoint tiny-local" in caplog.text
    assert "ruined on disk" in caplog.text

    rollouts.release(green)
    assert rollouts.traffic == green.all
    assert rollouts.deployments == {green.name}


def test_what_does_not_come_up_is_waited_for_as_long_as_any_other(
    rollouts: Rollouts, caplog: pytest.LogCaptureFixture
) -> None:
    flag = rollouts.project.root / "flag"
    hanging = f"import os, time\nif os.path.exists({str(flag)!r}): time.sleep(3600)\n"
    blue = rollouts.passed("blue", source=hanging + FLOW)
    rollouts.release(blue)
    green = rollouts.passed("green")
    rollouts.shift(green, rollouts.begin(green), 10)
    flag.touch()
    rollouts.kill()
    rollout.ensure_endpoint(green.work)
    times = itertools.count(step=5)
    clock = Clock(lambda: float(next(times)), lambda _: None)
    with caplog.at_level(logging.WARNING):
        assert stable.settle(green.work, clock=clock).before == {}
    assert f"{blue.name} was not ready after 30 s (last state: Updating)" in caplog.text
    assert rollouts.traffic == {}


def test_where_only_its_runtime_is_gone_that_is_built_anew(rollouts: Rollouts, tmp_path: Path) -> None:
    rollouts.set(f"runtimes_folder: {tmp_path / 'runtimes'}\n")
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    rollouts.shift(green, rollouts.begin(green), 10)
    rollouts.kill()
    for built in (tmp_path / "runtimes").glob("*/ready"):
        shutil.rmtree(built.parent)
    rollout.ensure_endpoint(green.work)
    assert stable.settle(green.work).before == blue.all
    assert rollouts.platform.invoke(ENDPOINT, {"question": "a"}).body == {"answer": "A"}


def test_a_release_comes_through_although_what_serves_is_dead(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    rollouts.ruin(blue)
    rollouts.kill_server(blue)
    rollouts.until(blue, "Failed")
    assert rollouts.release(green).traffic.weights == green.all


def test_a_dead_one_hands_over_to_the_one_before(rollouts: Rollouts) -> None:
    blue, green, red = rollouts.released("blue"), rollouts.released("green"), rollouts.passed("red")
    rollouts.ruin(green)
    rollouts.kill_server(green)
    rollouts.until(green, "Failed")
    rollout.ensure_endpoint(red.work)
    assert stable.settle(red.work).before == blue.all
    assert rollouts.traffic == blue.all


def test_a_dead_live_deployment_is_made_anew_by_its_own_content(rollouts: Rollouts) -> None:
    blue = rollouts.released("blue")
    file = rollouts.files(blue) / "tiny.py"
    good = file.read_text()
    rollouts.ruin(blue)
    rollouts.kill_server(blue)
    rollouts.until(blue, "Failed")
    assert serving.check(blue.work) is None
    file.write_text(good)
    rollouts.release(blue)
    assert (rollouts.traffic, rollouts.proven(blue)) == (blue.all, True)
    assert serving.check(blue.work) is not None


def test_a_dead_live_deployment_that_stays_dead_is_rolled_back_with_its_reason(rollouts: Rollouts) -> None:
    # As if the machine had changed: its files are what was registered, and yet it can't be served any more.
    flag = rollouts.project.root / "flag"
    source = (
        f"import os, sys\nif os.path.exists({str(flag)!r}) and 'serve' in sys.orig_argv: raise OSError('no disk')\n"
    )
    blue = rollouts.passed("blue", source=source + FLOW)
    rollouts.release(blue)
    flag.touch()
    rollouts.kill_server(blue)
    rollouts.until(blue, "Failed")
    rollout.ensure_endpoint(blue.work)
    green = stable.settle(blue.work)
    rollout.create_deployment(blue.work, green, blue.judged, blue.model)
    with pytest.raises(ProvisioningFailed, match="no disk") as failed:
        rollout.wait_for_deployment(blue.work, green)
    back = rollout.roll_back(blue.work, green, blue.judged, failed.value)
    assert "no disk" in back.problem
    assert (rollouts.traffic, rollouts.deployments) == ({}, set())


def test_a_deployment_that_is_being_removed_is_waited_for(rollouts: Rollouts) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green")
    begun = rollouts.begin(green)
    rollouts.platform.delete(DEPLOYMENT, green.name, endpoint=ENDPOINT)
    rollout.create_deployment(green.work, begun, green.judged, green.model)
    rollout.wait_for_deployment(green.work, begun)
    assert rollouts.deployments == {blue.name, green.name}
