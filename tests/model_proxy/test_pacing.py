"""The controller against simulated providers: how much of a limit it uses, and how often it is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_provider import REPLY, Result, Scenario, simulate

from orchestration.model_proxy.controller import Controller
from orchestration.model_proxy.cost import Size
from orchestration.model_proxy.hints import Hint, Hints

LIMITS = {
    "requests": {"requests": 1200.0},
    "tokens": {"tokens": 200_000.0},
    "both, tokens bind": {"requests": 1500.0, "tokens": 200_000.0},
    "both, requests bind": {"requests": 900.0, "tokens": 400_000.0},
    "many requests": {"requests": 6000.0, "rows": 4000, "spacing": 0.001},
}
CHANGES = {"steady": None, "halved": (15.0, 0.5)}
SEEDS = (0, 1, 2)


def check(result: Result, *, share: float, refused: float) -> None:
    assert result.share >= share, result
    assert result.refused_share < refused, result


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("hints", ["headers", "retry-after"])
def test_with_hints_the_limit_is_used_and_hardly_ever_hit(hints: str, limit: str, change: str, seed: int) -> None:
    scenario = Scenario(**({"hints": hints, "rows": 1200, "change": CHANGES[change], "seed": seed} | LIMITS[limit]))
    result = simulate(scenario)
    check(result, share=0.95, refused=0.01)
    assert result.completed == scenario.rows


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("limit", LIMITS)
def test_without_any_hint_the_limit_is_found(limit: str, change: str, seed: int) -> None:
    scenario = Scenario(**({"hints": "none", "rows": 1200, "change": CHANGES[change], "seed": seed} | LIMITS[limit]))
    result = simulate(scenario)
    assert result.ramped >= 0.8, result
    assert result.refused_share < 0.05, result
    assert result.completed == scenario.rows


@pytest.mark.parametrize("burst", [1.0, 10.0, 60.0])
@pytest.mark.parametrize("hints", ["headers", "retry-after", "none"])
def test_any_size_of_the_provider_s_bucket(hints: str, burst: float) -> None:
    check(simulate(Scenario(hints, requests=1200, burst=burst, rows=2000)), share=0.95, refused=0.02)


@pytest.mark.parametrize("hints", ["headers", "retry-after", "none"])
def test_a_doubled_limit_is_followed(hints: str) -> None:
    result = simulate(Scenario(hints, requests=600, rows=2000, change=(15.0, 2.0)))
    assert result.ramped >= (0.95 if hints == "headers" else 0.9), result
    assert result.refused_share < 0.01, result


@pytest.mark.parametrize("seconds", [1.0, 10.0, 60.0])
@pytest.mark.parametrize(("hints", "share", "refused"), [("headers", 0.95, 0.01), ("none", 0.7, 0.05)])
def test_limits_that_count_in_periods(hints: str, share: float, refused: float, seconds: float) -> None:
    check(simulate(Scenario(hints, requests=1200, window=seconds, rows=4000)), share=share, refused=refused)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("size", "charge"),
    [
        pytest.param(lambda n: Size(n - REPLY, 500.0), float, id="charges what is used"),
        pytest.param(lambda n: Size(n - REPLY, 500.0), lambda n: n - REPLY + 500.0, id="charges the longest reply"),
        pytest.param(lambda n: Size((n - REPLY) * 0.6), float, id="prompts look shorter than they are"),
        pytest.param(lambda n: Size((n - REPLY) * 1.6), float, id="prompts look longer than they are"),
    ],
)
def test_the_charge_of_a_request_is_learned(size, charge, known: bool) -> None:
    scenario = Scenario("headers", tokens=200_000, rows=1500, size=size, charge=charge, known=known)
    check(simulate(scenario), share=0.95, refused=0.01)


def test_a_known_limit_needs_no_refusals() -> None:
    check(simulate(Scenario("none", requests=1200, known=True, spacing=0.0)), share=0.95, refused=0.005)


@pytest.mark.parametrize("hints", ["headers", "retry-after", "none"])
def test_a_limit_of_few_requests_that_holds_none_back(hints: str) -> None:
    result = simulate(Scenario(hints, requests=30, rows=200))
    assert result.ramped >= (0.95 if hints == "headers" else 0.75), result
    assert result.refused_share < 0.05, result


@settings(max_examples=40, deadline=None)
@given(
    hints=st.sampled_from(["headers", "retry-after", "none"]),
    requests=st.floats(20, 20_000),
    tokens=st.none() | st.floats(5_000, 2_000_000),
    burst=st.floats(0.2, 60),
    in_flight=st.integers(1, 200),
    factor=st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]),
    seed=st.integers(0, 100),
)
def test_every_row_gets_through(*, hints, requests, tokens, burst, in_flight, factor, seed) -> None:
    scenario = Scenario(
        hints,
        requests=requests,
        tokens=tokens,
        burst=burst,
        in_flight=in_flight,
        change=(5.0, factor),
        seed=seed,
        rows=200,
    )
    assert simulate(scenario).completed == 200


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_without_limits_nothing_waits() -> None:
    clock = Clock()
    controller = Controller(now=clock)
    for _ in range(1000):
        assert controller.wait(Size(1000)) == 0
        controller.answered(controller.start(Size(1000)), Hints())


def test_scouts_go_first_where_limits_are_likely() -> None:
    controller = Controller(now=Clock(), scouts=2)
    first = controller.start(Size())
    controller.start(Size())
    assert controller.wait(Size()) == math.inf
    controller.answered(first, Hints(Hint(limit=6000, remaining=100)))
    assert controller.wait(Size()) == 0


def test_a_crowd_of_first_requests_is_spread_a_little() -> None:
    clock = Clock()
    controller = Controller(now=clock)
    for _ in range(64):
        clock.time += controller.wait(Size())
        controller.start(Size())
    assert 0.03 < clock.time - 100 < 0.1


def test_a_period_that_is_used_up_is_waited_for() -> None:
    controller = Controller(now=Clock())
    controller.refused(controller.start(Size()), Hints(Hint(remaining=0, reset=42.0)))
    assert controller.pause() == pytest.approx(42.0)


def test_retry_after_is_a_floor() -> None:
    clock = Clock()
    controller = Controller(now=clock)
    controller.refused(controller.start(Size()), Hints(retry_after=7.0))
    assert controller.wait(Size()) == pytest.approx(7.0)
    assert controller.pause() == pytest.approx(7.0)
    clock.time += 7.0
    assert controller.pause() == 0


def test_what_the_provider_has_left_is_not_overdrawn() -> None:
    clock = Clock()
    controller = Controller(now=clock, requests_per_minute=600)
    ticket = controller.start(Size())
    clock.time += 0.01
    controller.answered(ticket, Hints(Hint(limit=600, remaining=0)))
    assert controller.wait(Size()) == pytest.approx(0.1, abs=0.07)


def test_a_provider_that_refuses_from_the_start_is_asked_again() -> None:
    clock = Clock()
    controller = Controller(now=clock)
    for _ in range(20):
        controller.refused(controller.start(Size()), Hints())
        wait = controller.wait(Size())
        assert 0 < wait <= 16
        clock.time += wait


def test_idle_time_does_not_count_as_a_low_limit() -> None:
    clock = Clock()
    controller = Controller(now=clock)

    def refuse() -> None:
        controller.refused(controller.start(Size()), Hints(retry_after=0.0))

    def admit(count: int) -> None:
        for _ in range(count):
            clock.time += controller.wait(Size())
            controller.answered(controller.start(Size()), Hints())

    admit(100)
    refuse()
    admit(100)
    before = clock.time
    admit(50)
    pace = (clock.time - before) / 50
    clock.time += 3600
    admit(50)
    refuse()
    before = clock.time
    admit(20)
    assert (clock.time - before) / 20 < 3 * pace
