from __future__ import annotations

import statistics

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.platforms.local.served import Served

REQUESTS = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10), st.sampled_from([200, 400, 404, 500, 503])))


@settings(deadline=None)
@given(REQUESTS, st.floats(0, 100))
def test_load_counts_what_ended_since_the_moment(requests: list[tuple[float, float, int]], since: float) -> None:
    now = 0.0
    served = Served(lambda: now)
    for now, seconds, status in requests:  # noqa: B007 - the clock reads it
        served.add(status, seconds)
    recent = [r for r in requests if r[0] >= since]
    load = served.since(since)
    assert load.requests == len(recent)
    assert load.errors == sum(r[2] >= 500 for r in recent)
    assert (load.p95_seconds is None) == (not recent)


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1))
def test_p95_is_a_duration_that_at_least_95_percent_do_not_exceed(seconds: list[float]) -> None:
    served = Served(lambda: 1.0)
    for each in seconds:
        served.add(200, each)
    p95 = served.since(0).p95_seconds
    assert p95 in seconds
    assert sum(each <= p95 for each in seconds) >= 0.95 * len(seconds)
    assert p95 >= statistics.median_low(seconds)
