"""One run's evaluation on the emulated cloud: what the steps get, and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from azure_emulator.computes import COMPUTE_TYPE
from azure_emulator.entra import IDENTITY_TYPE
from azure_emulator.identities import ASSIGNMENT_TYPE
from azure_emulator.prompt_flow import FlowRuntimes
from release_project import ReleaseProject

from orchestration.candidates import load_spec
from orchestration.steps import test_compute as steps
from orchestration.steps.work import Work
from orchestration.values import Binding, Request

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ORDER = (
    steps.create_identity,
    steps.assign_role,
    steps.create_instance,
    steps.create_runtime,
    steps.wait_for_runtime,
)


@dataclass
class Run:
    """One run of the prompt flow `echo`."""

    project: ReleaseProject
    id: str = "6f1c"
    made: steps.Equipment = field(init=False)

    def __post_init__(self) -> None:
        self.work = work_of(self.project)
        self.made = steps.equipment(self.work, self.id, now=NOW)
        self.clock = self.project.clock

    def go(self, upto: int = len(ORDER)) -> None:
        """The first steps."""
        for step in ORDER[:upto]:
            step(self.work, self.made, clock=self.clock)

    def remove(self, now: datetime = NOW) -> None:
        steps.remove(self.work, self.made, clock=self.clock, now=now)

    def left(self) -> list[str]:
        """What there is in the cloud of the kinds that a run makes."""
        self.project.cloud.see(self.project.workspace.id)
        group = self.project.workspace.id.partition("/providers/")[0]
        found = [each.id.path for kind in (IDENTITY_TYPE, COMPUTE_TYPE) for each in self.below(group, kind)]
        found += [each.id.path for each in self.below(group, ASSIGNMENT_TYPE)]
        return found + self.project.cloud.of(FlowRuntimes).names(self.project.workspace.id)

    def below(self, group: str, kind: str):
        found = self.project.cloud.arm.below(group, kind)
        return [each for each in found if self.project.cloud.see(each.id.path)]

    def sent(self, method: str, part: str) -> list:
        """The exchanges of that method whose address has that part."""
        return [each for each in self.project.cloud.exchanges if each.method == method and part in each.url]


def work_of(project: ReleaseProject) -> Work:
    bound = Binding("dev", {}, "b" * 64)
    return Work(
        project.root, Request("echo", "dev"), project.settings, project.candidate, load_spec(project.candidate), bound
    )


def runtimes(run: Run) -> FlowRuntimes:
    return run.project.cloud.of(FlowRuntimes)


def seed(run: Run, kind: str, tags: Mapping[str, str]) -> str:
    """An identity or a compute instance of somebody, under the run's name."""
    scope = run.project.workspace.id
    owner = scope if kind == COMPUTE_TYPE else scope.partition("/providers/")[0]
    last = f"computes/{run.made.name}" if kind == COMPUTE_TYPE else f"providers/{kind}/{run.made.name}"
    properties = {"computeType": "ComputeInstance", "properties": {"vmSize": "Standard_DS1_v2"}}
    principal = run.project.cloud.directory.principal(run.made.name)
    identity = {"principalId": principal.object_id, "clientId": principal.client_id}
    body = properties if kind == COMPUTE_TYPE else identity
    run.project.cloud.arm.seed(f"{owner}/{last}", {"location": "westeurope", "properties": body, "tags": dict(tags)})
    return f"{owner}/{last}"
