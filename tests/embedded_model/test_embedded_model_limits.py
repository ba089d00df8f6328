"""The accounting of the rate limits, in virtual time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.embedded_model.limits import RateLimits, TokenBucket
from orchestration.embedded_model.options import EmbeddedModelOptions, LimitChange
from orchestration.errors import ConfigurationError


def limits(**options):
    return RateLimits(EmbeddedModelOptions(**options), now=0.0)


def served(rate_limits, seconds, *, tokens=0, start=0.0, step=0.01):
    """How many of the requests that come every `step` seconds are admitted."""
    times = [start + i * step for i in range(round(seconds / step))]
    return sum(rate_limits.admit(tokens, now) is None for now in times)


def test_without_limits_everything_is_admitted_and_nothing_is_told():
    unlimited = limits()
    assert served(unlimited, 1) == 100
    assert unlimited.headers(0.0) == {}


def test_the_sustained_rate_is_the_limit_plus_a_burst_of_one_second():
    assert served(limits(requests_per_minute=600), 60) == pytest.approx(600 + 10, abs=1)


def test_tokens_are_charged_too():
    assert served(limits(tokens_per_minute=60_000), 60, tokens=500) == pytest.approx((60_000 + 1000) / 500, abs=1)


def test_a_cost_above_the_burst_is_admitted_from_a_full_bucket_and_leaves_a_debt():
    narrow = limits(tokens_per_minute=600)  # 10 tokens a second
    assert narrow.admit(100, 0.0) is None
    refusal = narrow.admit(100, 0.0)
    assert refusal is not None
    assert (refusal.limit, refusal.seconds) == ("tokens", pytest.approx(10))
    assert narrow.admit(100, 10.0) is None


def test_the_limit_changes_in_mid_run_counted_from_the_first_request():
    changing = limits(requests_per_minute=600, limit_changes=(LimitChange(0.5, 20), LimitChange(1, 40)))
    assert served(changing, 20, start=100.0) == pytest.approx(200 + 10, abs=1)
    assert changing.headers(120.0)["x-ratelimit-limit-requests"] == "600"
    assert served(changing, 20, start=120.0) == pytest.approx(100, abs=1)
    assert changing.headers(139.9)["x-ratelimit-limit-requests"] == "300"
    assert served(changing, 20, start=140.0) == pytest.approx(200, abs=1)


def test_the_headers_of_an_answer():
    told = limits(requests_per_minute=600, tokens_per_minute=6000)
    told.admit(30, 0.0)
    assert told.headers(0.0) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "100ms",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "70",
        "x-ratelimit-reset-tokens": "300ms",
    }


@pytest.mark.parametrize(
    ("style", "names"),
    [
        ("none", set()),
        ("retry-after", {"Retry-After"}),
        (
            "yes",
            {
                "Retry-After",
                "retry-after-ms",
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            },
        ),
    ],
)
def test_what_a_429_tells_depends_on_the_style(style, names):
    one = limits(requests_per_minute=30, rate_headers=style)
    assert one.admit(1, 0.0) is None
    headers = one.headers(0.0, one.admit(1, 0.0))
    assert set(headers) == names
    assert headers.get("Retry-After", "2") == "2"
    assert headers.get("x-ratelimit-reset-requests", "2s") == "2s"


@given(
    per_minute=st.floats(1, 1e6),
    costs=st.lists(st.tuples(st.floats(0, 10), st.integers(1, 5000)), min_size=1, max_size=60),
)
def test_a_bucket_never_gives_more_than_rate_times_time_plus_burst(per_minute, costs):
    bucket, now, given_out = TokenBucket(per_minute, now=0.0), 0.0, 0.0
    for pause, cost in costs:
        now += pause
        if bucket.seconds_until(cost, now) == 0.0:
            bucket.take(cost, now)
            given_out += cost
            largest_debt = max(0.0, cost - bucket.capacity)
            assert given_out <= per_minute / 60 * now + bucket.capacity + largest_debt + 1e-3


@given(per_minute=st.floats(1, 1e6), cost=st.integers(1, 10**6), spent=st.integers(0, 10**6))
def test_who_waits_as_told_is_admitted(per_minute, cost, spent):
    bucket = TokenBucket(per_minute, now=0.0)
    bucket.take(spent, 0.0)
    wait = bucket.seconds_until(cost, 0.0)
    assert math.isfinite(wait)
    assert bucket.seconds_until(cost, wait) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("text", ["", "0.5", "0.5@", "@20", "half@20", "0@20", "0.5@-1"])
def test_a_wrong_limit_change_is_refused(text):
    with pytest.raises(ConfigurationError, match="limit change"):
        LimitChange.parse(text)


@pytest.mark.parametrize(
    "options",
    [
        {"port": 70000},
        {"latency_seconds": -1},
        {"jitter_seconds": 0.1},
        {"error_rate": 1.5},
        {"requests_per_minute": 0},
        {"tokens_per_minute": -5},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigurationError, match="must be"):
        EmbeddedModelOptions(**options)
