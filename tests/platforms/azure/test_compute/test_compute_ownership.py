"""What a run did not make is neither adopted nor removed, whatever it is called."""

from __future__ import annotations

import pytest
from azure_emulator.computes import COMPUTE_TYPE
from azure_emulator.entra import IDENTITY_TYPE
from compute_world import Run, runtimes, seed

from orchestration.errors import PlatformError, ResourceRefused
from orchestration.steps import test_compute as steps


@pytest.mark.parametrize("tags", [{}, {"sluice": "1"}, {"sluice": "1", "run": "another"}], ids=str)
@pytest.mark.parametrize("kind", [IDENTITY_TYPE, COMPUTE_TYPE])
def test_what_others_made_is_not_adopted(run: Run, kind: str, tags: dict[str, str]) -> None:
    path = seed(run, kind, tags)
    step = steps.create_identity if kind == IDENTITY_TYPE else steps.create_instance
    with pytest.raises(ResourceRefused):
        step(run.work, run.made, clock=run.clock)
    assert run.project.cloud.see(path) is not None


@pytest.mark.parametrize(
    "tags", [{}, {"sluice": "1"}, {"run": "6f1c", "expires": "2020-01-01T00:00:00+00:00"}], ids=str
)
@pytest.mark.parametrize("kind", [IDENTITY_TYPE, COMPUTE_TYPE])
def test_what_others_made_is_never_removed(run: Run, kind: str, tags: dict[str, str]) -> None:
    path = seed(run, kind, tags)
    with pytest.raises(PlatformError, match=rf"Not all of {run.made.name} could be removed: .*{run.made.name}"):
        run.remove()
    assert run.project.cloud.see(path) is not None
    assert not run.sent("DELETE", run.made.name)


def test_a_runtime_on_another_instance_is_neither_adopted_nor_removed(run: Run) -> None:
    run.go(3)
    runtimes(run).seed(run.project.workspace.id, run.made.name, "somebodys")
    with pytest.raises(ResourceRefused, match="is on somebodys"):
        steps.create_runtime(run.work, run.made, clock=run.clock)
    with pytest.raises(PlatformError, match="not ours to remove"):
        run.remove()
    assert runtimes(run).names(run.project.workspace.id) == [run.made.name]
    assert not [path for path in run.left() if COMPUTE_TYPE in path]


def test_an_assignment_that_says_nothing_of_us_stays(run: Run) -> None:
    run.go(2)
    path = next(path for path in run.left() if "roleAssignments" in path)
    run.project.cloud.arm.peek(path).properties["description"] = "for the night shift"
    with pytest.raises(PlatformError, match="is not of a run: it stays"):
        run.remove()
    assert run.left() == [path]
