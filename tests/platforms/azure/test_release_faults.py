"""Every fault at every request of every step of a release to Azure: it ends in time, as it should, and leaves no harm.

`make test-faults` runs the whole table; a sample of it runs with the other tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from azure_emulator.blob import unavailable
from fault_classes import expected
from release_cases import Case, Ended, cases, run
from release_steps import BOTH, STEPS, Stage, fingerprint, staged
from release_world import release_world

TABLE = cases()
SAMPLE = [case for case in TABLE if case.kind != "blob"][::29]
SETTINGS = {"more": "poll_seconds: 60", "rest": "rollout: {step_seconds: 30, probes: 1}\n"}


@dataclass
class Table:
    """The stage on which all cases are played, and how they ended."""

    stage: Stage
    clean: dict[str, dict[str, object]] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)

    def left_by(self, step: str) -> dict[str, object]:
        """What there is of ours after the step without a fault."""
        if step not in self.clean:
            self.stage.go_to(step)
            (STEPS[step].again or STEPS[step].act)(self.stage)
            self.clean[step] = fingerprint(self.stage)
        return self.clean[step]

    def play(self, case: Case) -> Ended:
        clean = self.left_by(case.step)
        ended = run(self.stage, case, clean)
        self.ends[ended.how] += 1
        return ended


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Table]:
    if reason := unavailable():
        pytest.skip(reason)
    with release_world(tmp_path_factory.mktemp("faults"), **SETTINGS) as world:
        made = Table(staged(world))
        yield made
    counts = ", ".join(f"{how} {count}" for how, count in made.ends.most_common())
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{made.ends.total()} cases of {len(TABLE)}: {counts}")


def check(table: Table, case: Case) -> None:
    ended = table.play(case)
    assert (ended.how, list(ended.problems)) == (expected(case), []), ended.error


@pytest.mark.real
@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_a_sample_of_the_table(table: Table, case: Case) -> None:
    check(table, case)


@pytest.mark.real
@pytest.mark.parametrize("name", [name for name in STEPS if name != BOTH])
def test_the_table_has_every_request_of_a_step(table: Table, name: str) -> None:
    table.stage.go_to(name)
    scenario = table.stage.world.cloud.scenario
    scenario.asked.clear()
    STEPS[name].act(table.stage)
    asked = {(method, kind) for method, kind in scenario.asked}
    named = {(method, whole) for method, whole in asked for known in STEPS[name].calls if _is(method, whole, known)}
    assert asked - named == set()
    assert len(STEPS[name].calls) == len({known for known in STEPS[name].calls for m, w in asked if _is(m, w, known)})


def _is(method: str, kind: str, known: tuple[str, str]) -> bool:
    return method == known[0] and f"/{kind}".lower().endswith(f"/{known[1]}".lower())


def test_the_table_is_whole() -> None:
    assert len({str(case) for case in TABLE}) == len(TABLE) >= 1000
    assert {case.step for case in TABLE} == set(STEPS)


@pytest.mark.faults
@pytest.mark.parametrize("case", TABLE, ids=str)
def test_every_fault_at_every_request(table: Table, case: Case) -> None:
    check(table, case)
