"""How benchmarks compare: ratios pair by pair, failed rounds left out, goals that no missing figure can meet."""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import harness  # noqa: E402
from benchmarks.harness import Finding, Goal, Incomplete, Options, Pairs, Sample, interleave  # noqa: E402
from benchmarks.load import _summary  # noqa: E402
from benchmarks.rate_limit import REQUESTS_PER_MINUTE, Scenario, scenarios  # noqa: E402


def side(name, order, values):
    values = iter(values)

    def run():
        order.append(name)
        value = next(values)
        if value is None:
            raise Incomplete("it broke")
        return Sample(value)

    return run


def test_sides_take_turns_and_the_first_round_is_not_counted():
    order = []
    samples = interleave({"a": side("a", order, [9, 1, 3]), "b": side("b", order, [9, 2, 2])}, 2)
    assert "".join(order) == "ababab"
    found = Pairs(samples["a"], samples["b"]).finding("a", "b", Goal(at_most=1.0))
    assert (found.value, found.spread, found.n, found.met) == (1.0, (0.5, 1.5), 2, True)


def test_a_round_that_fails_is_left_out_with_both_its_runs():
    order = []
    samples = interleave({"a": side("a", order, [1, 50, 2]), "b": side("b", order, [None, 1, 4])}, 2, warm_up=False)
    assert [[s.value for s in side] for side in samples.values()] == [[50, 2], [1, 4]]


def test_a_side_that_keeps_failing_has_no_figure():
    with pytest.raises(Incomplete):
        interleave({"a": side("a", [], [None] * 3)}, 1, warm_up=False)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1))
def test_the_median_lies_within_the_spread(values):
    pairs = Pairs([Sample(a) for a, _ in values], [Sample(b) for _, b in values])
    found = pairs.finding("a", "b", None)
    assert found.spread[0] <= found.value <= found.spread[1]
    assert found.met is None


@given(st.floats(), st.floats(allow_nan=False))
def test_goals(value, limit):
    assert Goal(at_most=limit).met(value) == (value <= limit)
    assert Goal(at_least=limit).met(value) == (value >= limit)


def test_a_missing_figure_meets_nothing_and_is_shown():
    failed = Finding.missing("a", "it broke", failed=True)
    skipped = Finding.missing("b", "no node", anchor="promptfoo")
    assert (failed.met, skipped.met) == (False, None)
    text = harness.table([("x", failed), ("x", skipped)])
    assert "MISSED" in text.splitlines()[1]
    assert "no node" in text.splitlines()[2]


def test_results_are_json(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    path = harness.write("x", [Finding("a", 1.0, (1.0, 1.0), 1, Goal(at_most=2))], {"load_before": 0.1})
    written = json.loads(path.read_text())
    assert (written["name"], written["load_before"], written["findings"][0]["met"]) == ("x", 0.1, True)


def test_latencies_of_the_first_tenth_are_left_out():
    served = _summary([(0.5, 1000.0), *((1 + n / 100, float(n)) for n in range(1, 101))], 0, since=1.0)
    assert (served.requests, served.requests_per_second) == (100, 100.0)
    assert 50 <= served.p50 <= 51
    assert 99 <= served.p99 <= 100


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(1, 99))
def test_what_a_limit_allows_adds_up(one, two, three, halved_at):
    a, b, c = sorted((one, two, three))
    scenario = Scenario("yes", "requests", 100, halved_at)
    whole = scenario.allowed(a, c)
    burst = REQUESTS_PER_MINUTE / 60 if b == 0 else 0
    assert math.isclose(whole + burst, scenario.allowed(a, b) + scenario.allowed(b, c), abs_tol=1e-6)


def test_a_halved_limit_allows_half_as_much():
    rate = REQUESTS_PER_MINUTE / 60
    assert Scenario("yes", "requests", 40, 20).allowed(0, 40) == pytest.approx(rate * (1 + 20 + 10))


def test_every_kind_of_hint_is_tried_with_every_kind_of_limit():
    tried = scenarios(Options())
    assert {(s.hints, s.limit) for s in tried} == {
        (h, t) for h in ("yes", "retry-after", "none") for t in ("requests", "tokens")
    }
    assert sum(s.halved_at is not None for s in tried) == 3
    assert all(a != b for a, b in pairwise(tried))


def test_the_lock_file_names_no_address():
    text = (ROOT / "benchmarks" / "package-lock.json").read_text()
    assert "://" not in text
    packages = json.loads(text)["packages"]
    assert all("integrity" in package for name, package in packages.items() if name)
