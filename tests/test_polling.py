from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.errors import PlatformTimeout, ProvisioningFailed
from orchestration.polling import Clock, every, wait_until


class Virtual:
    """A clock that only its own sleeps move."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.time, self.sleep)


def test_it_returns_what_was_waited_for() -> None:
    virtual, answers = Virtual(), iter([None, None, "ready"])
    assert wait_until(lambda: next(answers), what="it", timeout_seconds=10, clock=virtual.clock) == "ready"
    assert len(virtual.slept) == 2


def test_a_false_value_is_an_answer_and_none_is_not() -> None:
    assert wait_until(lambda: 0, what="it", timeout_seconds=1, clock=Virtual().clock) == 0


def test_a_failure_state_is_raised_at_once() -> None:
    virtual = Virtual()

    def failed() -> None:
        raise ProvisioningFailed("no quota")

    with pytest.raises(ProvisioningFailed, match="no quota"):
        wait_until(failed, what="it", timeout_seconds=10, clock=virtual.clock)
    assert virtual.slept == []


@given(timeout=st.floats(0, 1000), pause=st.floats(0.01, 100))
def test_the_deadline_is_kept_to_the_second_and_the_last_poll_is_at_it(timeout: float, pause: float) -> None:
    virtual, polled = Virtual(), []

    with pytest.raises(PlatformTimeout) as error:
        wait_until(
            lambda: polled.append(virtual.time),
            what="The thing",
            timeout_seconds=timeout,
            wait=every(max(pause, timeout / 200)),
            clock=virtual.clock,
            last=lambda: "Creating",
        )
    assert virtual.time == pytest.approx(timeout)
    assert polled[-1] == pytest.approx(timeout)
    assert "The thing was not ready" in str(error.value)
    assert "last state: Creating" in str(error.value)
