"""Every fault of the matrix at every call of every step that makes or removes one run's compute.

`make test-faults` runs the whole table; a sample of it runs with the other tests.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import product

import pytest
from azure_emulator.faults import MATRIX
from compute_world import ORDER, Run

from orchestration.errors import PlatformError, SluiceError

KINDS = {"create_identity": "userAssignedIdentities", "assign_role": "roleAssignments", "create_instance": "computes"}
CALLS = (
    *((step, method, kind) for step, kind in KINDS.items() for method in ("GET", "PUT")),
    ("create_runtime", "GET", "flowRuntimes"),
    ("create_runtime", "POST", "flowRuntimes"),
    ("wait_for_runtime", "GET", "flowRuntimes"),
)
STEPS = list(product(CALLS, MATRIX))
REMOVALS = list(product((*KINDS.values(), "flowRuntimes"), MATRIX))
NEVER_ENDS = "operation never ends"
LONGEST = 1800.0 + 600.0  # the longest deadline of a step, and pauses between attempts


@pytest.mark.parametrize(("call", "name"), STEPS[::17])
def test_a_sample_of_the_steps(run: Run, call: tuple[str, str, str], name: str) -> None:
    check_step(run, call, name)


@pytest.mark.parametrize(("kind", "name"), REMOVALS[::11])
def test_a_sample_of_the_removals(run: Run, kind: str, name: str) -> None:
    check_removal(run, kind, name)


@pytest.mark.faults
@pytest.mark.parametrize(("call", "name"), STEPS)
def test_every_fault_of_every_call(run: Run, call: tuple[str, str, str], name: str) -> None:
    check_step(run, call, name)


@pytest.mark.faults
@pytest.mark.parametrize(("kind", "name"), REMOVALS)
def test_every_fault_of_the_removal(run: Run, kind: str, name: str) -> None:
    check_removal(run, kind, name)


def check_step(run: Run, call: tuple[str, str, str], name: str) -> None:
    """It ends within its deadline, as it should or with an error of ours; then nothing is left, or that is said."""
    step, method, kind = call
    number = [each.__name__ for each in ORDER].index(step)
    run.go(number)
    began = run.clock.now()
    run.project.cloud.scenario.fault(method, kind, MATRIX[name])
    with suppress(SluiceError):
        ORDER[number](run.work, run.made, clock=run.clock)
    assert run.clock.now() - began < LONGEST
    if (name, method, kind) == (NEVER_ENDS, "PUT", "computes"):
        assert "could be removed" in problem_of(run.remove)
    else:
        run.remove()
        assert run.left() == []


def check_removal(run: Run, kind: str, name: str) -> None:
    """One thing that can't be removed doesn't keep the others from it; a second attempt removes that too."""
    run.go()
    run.project.cloud.scenario.fault("DELETE", kind, MATRIX[name])
    problem = problem_of(run.remove)
    left = run.left()
    assert bool(problem) == bool(left)
    assert len(left) <= 1 or name == NEVER_ENDS
    if left and name != NEVER_ENDS:
        run.remove()
        assert run.left() == []


def problem_of(act: Callable[[], None]) -> str:
    try:
        act()
    except PlatformError as error:
        return str(error)
    return ""
