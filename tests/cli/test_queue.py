"""A second release to an endpoint waits its turn and says for whom."""

from __future__ import annotations

import contextlib
import logging

import pytest

from orchestration.errors import PlatformTimeout
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.hold import held
from orchestration.polling import Clock
from orchestration.steps import prepare, rollout
from orchestration.values import Request


@pytest.fixture
def work(project):
    return prepare.take(Request("tiny", "local"))


def test_it_waits_and_names_the_holder_once(work, caplog) -> None:
    waits: list[float] = []
    with contextlib.ExitStack() as other:
        other.enter_context(held(EndpointFolder.of(work.state, work.endpoint), "release of somebody"))

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                other.close()

        with caplog.at_level(logging.WARNING), rollout.hold(work, clock=Clock(lambda: float(len(waits)), sleep)):
            pass
    said = [record.getMessage() for record in caplog.records if "Waiting" in record.getMessage()]
    assert len(waits) == 3
    assert len(said) == 1
    assert "tiny-local is held by release of somebody" in said[0]


def test_it_gives_up_in_the_end_and_names_the_holder(work) -> None:
    times = iter(range(0, 10_000, 600))
    clock = Clock(lambda: float(next(times)), lambda _: None)
    folder = EndpointFolder.of(work.state, work.endpoint)
    with (
        held(folder, "release of somebody"),
        pytest.raises(PlatformTimeout, match="release of somebody"),
        rollout.hold(work, clock=clock),
    ):
        pass
