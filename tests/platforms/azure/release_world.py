"""A release to the emulated cloud by its steps, in virtual time, without Prefect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from azure.core.pipeline.transport import HttpTransport
from azure_clients import lead_to
from azure_emulator import Cloud, Scenario, emulator
from azure_emulator.blob import BlobStorage
from azure_emulator.faults import Fault
from release_project import ENDPOINT, ReleaseProject, release_project
from shared_container import shared_container

from orchestration.candidates import load_spec
from orchestration.platforms.azure import uploads
from orchestration.platforms.azure.workspace import Transport, open_session
from orchestration.platforms.base import Endpoint, OnlineDeployment
from orchestration.settings import Settings, bind
from orchestration.steps import evaluate, register, rollout, stable
from orchestration.steps.evaluate import Judged
from orchestration.steps.prepare import Runtimes
from orchestration.steps.rollout import Rollout
from orchestration.steps.stable import Green
from orchestration.steps.work import Work
from orchestration.values import (
    Decision,
    Evaluation,
    GradedRow,
    ModelVersion,
    Request,
    Row,
    RowResult,
    Status,
)

DEPLOYMENT, KIND = OnlineDeployment.kind, Endpoint.kind
SPEC = """
key: id
connections: []
metrics: {accuracy: {column: right}}
gate: {min_rows: 4, rules: [{metric: accuracy, above: 0.6}]}
sample: {inputs: {question: a}, answer: {type: object, required: [answer]}}
"""
DATA = "".join(f'{{"id": "r{n}", "question": "a", "right": 1.0}}\n' for n in range(4))
FILES = {
    "sluice.yaml": SPEC,
    "run.yml": "data: data.jsonl\ncolumn_mapping: {question: '${data.question}'}\n",
    "data.jsonl": DATA,
    "run_evaluation.yml": "flow: ../grading\ndata: data.jsonl\ncolumn_mapping: {right: '${data.right}'}\n",
}
GRADING = {
    "callable.toml": 'entry = "grading:grade"\noutputs = ["right"]\n',
    "grading.py": "def grade(right: float) -> dict:\n    return {'right': right}\n",
}
ROLLOUT = "rollout: {step_seconds: 30, probes: 2}\n"


def evaluation(right: Sequence[object], id_: str = "e") -> Evaluation:
    """An evaluation whose rows were graded so."""
    rows = tuple(
        GradedRow(
            Row(f"r{n}", n, {"question": "a"}, {"question": "a"}),
            RowResult(f"r{n}", Status.COMPLETED, {"answer": "hello a"}, seconds=0.1),
            {"right": grade},  # type: ignore[dict-item]
        )
        for n, grade in enumerate(right)
    )
    return Evaluation(id_ * 64, len(rows), rows)


@dataclass
class Watched(Scenario):
    """A scenario that notes every call by the name under which a fault would be played.

    `after` is a fault that waits for a write: it meets the first call of its name behind one.
    """

    asked: list[tuple[str, str]] = field(default_factory=list)
    after: tuple[str, str, Fault] | None = None

    def take(self, method, kind):
        self.asked.append((method, kind))
        found = super().take(method, kind)
        if self.after and method in ("PUT", "PATCH", "DELETE") and kind != "blob":
            self.fault(*self.after)
            self.after = None
        return found


GOOD = (1.0, 1.0, 1.0, 1.0)


@dataclass
class Version:
    """One content of the prompt flow, judged and, once it passed, registered."""

    work: Work
    judged: Judged
    model: ModelVersion | None = None

    @property
    def name(self) -> str:
        return Green.name_of(self.work)

    @property
    def registered(self) -> ModelVersion:
        assert self.model is not None
        return self.model


class World:
    """A project on an emulated cloud, and its release step by step."""

    def __init__(self, cloud: Cloud, project: ReleaseProject) -> None:
        self.cloud, self.project, self.clock = cloud, project, project.clock
        grading = project.root / "flows" / "grading"
        grading.mkdir()
        for name, text in GRADING.items():
            (grading / name).write_text(text)

    @property
    def platform(self):
        return self.project.platform

    @property
    def now(self) -> float:
        return self.cloud.clock.now()

    def work(self, name: str, settings: Settings | None = None) -> Work:
        """The prompt flow in a version of that name: the same answers, another content."""
        source = f"def answer(question: str) -> str:\n    return f'hello {{question}}'\n# {name}\n"
        candidate = self.project.take(**FILES, **{"answer.py": source})
        spec, settings = load_spec(candidate), settings or self.project.settings
        return Work(self.project.root, Request("echo", "dev"), settings, candidate, spec, bind(settings, spec))

    def judged(self, name: str, right: Sequence[object] = GOOD) -> Version:
        """A version that was evaluated and decided on, and whose decision is on record."""
        work = self.work(name)
        found = evaluation(right)
        decision: Decision = evaluate.decide(work, found)
        return Version(work, evaluate.record(work, Runtimes(Path("python"), None), found, decision))

    def passed(self, name: str) -> Version:
        """A version that may be released, registered."""
        found = self.judged(name)
        return replace(found, model=register.register_model(found.work, found.judged))

    def released(self, name: str) -> Version:
        """A version, released from beginning to end."""
        version = self.passed(name)
        self.release(version)
        return version

    def release(self, version: Version) -> Rollout:
        """All steps of the subflow `deploy` in their order."""
        green = self.begin(version)
        for weight in rollout.steps(version.work, green):
            self.shift(version, green, weight)
        rollout.check_deployment(version.work, green, clock=self.clock)
        done = rollout.finish(version.work, green, version.judged, clock=self.clock)
        rollout.remove_old(version.work, green, clock=self.clock)
        return done

    def begin(self, version: Version) -> Green:
        """Up to the smoke test."""
        work = version.work
        rollout.ensure_endpoint(work, clock=self.clock)
        rollout.grant_access(work, clock=self.clock)
        green = stable.settle(work, clock=self.clock)
        rollout.render_deployment(work, green, version.judged, version.registered)
        rollout.create_deployment(work, green, version.judged, version.registered, clock=self.clock)
        rollout.wait_for_deployment(work, green, clock=self.clock)
        rollout.smoke_test(work, green)
        return green

    def shift(self, version: Version, green: Green, weight: int) -> None:
        rollout.shift_traffic(version.work, green, version.judged, weight, clock=self.clock)

    def path(self, name: str = "") -> str:
        """The ARM id of the endpoint, or of one of its deployments."""
        endpoint = f"{self.project.workspace.id}/onlineEndpoints/{ENDPOINT}"
        return f"{endpoint}/deployments/{name}" if name else endpoint

    def quiet(self) -> None:
        """Let everything end that is under way."""
        self.cloud.clock.sleep(10_000)
        for each in list(self.cloud.arm.resources):
            self.cloud.see(each)

    def maps(self, since: int = 0) -> list[dict[str, int]]:
        """Every traffic map that the endpoint had, in order, without repetitions."""
        return [each for _, each in self.timed_maps(since)]

    def timed_maps(self, since: int = 0) -> list[tuple[float, dict[str, int]]]:
        """The same with the moments from which they were in force: those at which their write had succeeded."""
        found: list[tuple[float, dict[str, int]]] = []
        for change in self.cloud.arm.history[since:]:
            if change.path == self.path() and change.body and change.verb == "Succeeded":
                shown = {name: share for name, share in change.body["properties"]["traffic"].items() if share}
                if not found or found[-1][1] != shown:
                    found.append((change.at, shown))
        return found

    def forget_uploads(self) -> None:
        """Let nobody know any more that anything was uploaded completely."""
        storage = self.cloud.of(BlobStorage)
        if storage._azurite.url and self.project.workspace.container in storage._containers:
            with storage._client(self.project.workspace.container) as client:
                for name in list(client.list_blob_names(name_starts_with=uploads.FOLDER)):
                    if name.endswith(f"/{uploads.COMPLETE}"):
                        client.delete_blob(name)


def without_tracking_server(settings: Settings, folder: Path) -> Settings:
    """The settings with a database of this machine as the ledger: for tests in which that is not what may fail."""
    assert settings.azure is not None
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return settings.model_copy(update={"azure": settings.azure.model_copy(update={"tracking_uri": uri})})


@contextmanager
def release_world(folder: Path, *, more: str = "poll_seconds: 10", rest: str = ROLLOUT) -> Iterator[World]:
    """A world of its own, in which nothing sleeps for real; its deployments have no processes."""
    cloud = emulator(Watched())
    with pytest.MonkeyPatch.context() as patch, cloud, shared_container(cloud):
        lead_to(cloud, patch)
        patch.chdir(folder)
        for transport in (HttpTransport, Transport):  # what the clients wait by between their own attempts
            patch.setattr(transport, "sleep", lambda _, seconds: cloud.clock.sleep(seconds))
        project = release_project(folder / "project", cloud)
        project.configure(more, connections=rest)
        project.settings = without_tracking_server(project.settings, folder)
        yield World(cloud, project)
        assert (cloud.refused, cloud.unknown, cloud.crashes) == ([], [], [])


def fresh_session(world: World) -> None:
    """Forget the keys of endpoints, so that each case asks for them."""
    open_session(world.project.settings).doors.clear()


def tags_of(body: Mapping[str, object]) -> Mapping[str, str]:
    """The tags of a resource, wherever its kind keeps them."""
    properties = body.get("properties")
    inner = properties.get("tags") if isinstance(properties, Mapping) else None
    return body.get("tags") or inner or {}  # type: ignore[return-value]
