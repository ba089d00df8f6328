"""The deploy subflow's steps on a small project, called without Prefect: a real gateway, real servers, a real registry."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import psutil
from small_project import FLOW, Project

from orchestration import processes, tracking
from orchestration.platforms import open_local
from orchestration.platforms.base import OnlineDeployment
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway
from orchestration.platforms.local.platform import LocalPlatform
from orchestration.polling import every, wait_until
from orchestration.steps import evaluate, prepare, register, rollout, stable
from orchestration.steps.evaluate import Judged
from orchestration.steps.rollout import Rollout
from orchestration.steps.stable import Green
from orchestration.steps.work import Work
from orchestration.values import ModelVersion, Request

DEPLOYMENT = OnlineDeployment.kind
ENDPOINT = "tiny-local"


@dataclass
class Version:
    """One content of the prompt flow that passed and is registered."""

    work: Work
    judged: Judged
    model: ModelVersion

    @property
    def name(self) -> str:
        """Its online deployment."""
        return Green.name_of(self.work)

    @property
    def all(self) -> dict[str, int]:
        return {self.name: 100}


@dataclass
class Rollouts:
    """What the tests do with the project again and again."""

    project: Project

    @cached_property
    def platform(self) -> LocalPlatform:
        return open_local(prepare.take(Request("tiny", "local")).settings)

    @property
    def folder(self) -> EndpointFolder:
        return EndpointFolder.of(self.project.state, ENDPOINT)

    def set(self, text: str, environment: str = "local") -> None:
        """Write the environment's settings."""
        (self.project.root / "config" / f"{environment}.yaml").write_text(text)

    def work(self, name: str, *, source: str = FLOW, environment: str = "local") -> Work:
        """The prompt flow in a version of that name: the same answers, another content."""
        (self.project.flow / "tiny.py").write_text(f"{source}\n# {name}\n")
        return prepare.take(Request("tiny", environment))

    def passed(self, name: str, *, source: str = FLOW) -> Version:
        """A version of that name, evaluated, recorded and registered."""
        work = self.work(name, source=source)
        runtimes = prepare.build_runtimes(work)
        evaluation = evaluate.run_rows(work, runtimes)
        judged = evaluate.record(work, runtimes, evaluation, evaluate.decide(work, evaluation))
        return Version(work, judged, register.register_model(work, judged))

    def again(self, version: Version) -> Version:
        """The same under the settings of now."""
        settings = prepare.take(version.work.request).settings
        return replace(version, work=replace(version.work, settings=settings))

    def begin(self, version: Version) -> Green:
        """Up to the smoke test."""
        rollout.ensure_endpoint(version.work)
        green = stable.settle(version.work)
        rollout.create_deployment(version.work, green, version.judged, version.model)
        rollout.wait_for_deployment(version.work, green)
        rollout.smoke_test(version.work, green)
        return green

    def shift(self, version: Version, green: Green, *weights: int) -> None:
        for weight in weights or rollout.steps(version.work, green):
            rollout.shift_traffic(version.work, green, version.judged, weight)

    def released(self, name: str) -> Version:
        """A new version, released from beginning to end."""
        version = self.passed(name)
        self.release(version)
        return version

    def release(self, version: Version) -> Rollout:
        with rollout.hold(version.work):
            green = self.begin(version)
            self.shift(version, green)
            done = rollout.finish(version.work, green, version.judged)
            rollout.remove_old(version.work, green)
        return done

    # ---- what goes wrong

    def kill(self) -> None:
        """The gateway is killed, and with it all servers end."""
        daemon = live_gateway(self.folder)
        assert daemon is not None
        os.kill(daemon.pid, signal.SIGKILL)
        wait_until(lambda: processes.alive(daemon) is False or None, what="its end", timeout_seconds=10)

    def ruin(self, version: Version) -> None:
        """From its next start on this version can't serve."""
        file = self.files(version) / "tiny.py"
        file.chmod(0o644)
        file.write_text("raise RuntimeError('ruined on disk')\n")

    def files(self, version: Version) -> Path:
        """The registered files from which it is served."""
        return Path(self.folder.load().deployments[version.name].spec.flow)

    def kill_server(self, version: Version) -> None:
        """Its server alone is killed."""
        gateway = live_gateway(self.folder)
        assert gateway is not None
        for child in psutil.Process(gateway.pid).children():
            if Path(child.cwd()) == self.files(version):  # where a prompt flow runs
                child.kill()

    def until(self, version: Version, state: str) -> None:
        def found() -> bool | None:
            seen = self.platform.get(DEPLOYMENT, version.name, endpoint=ENDPOINT)
            return True if (seen.state if seen else "gone") == state else None

        wait_until(found, what=f"{version.name} {state}", timeout_seconds=30, wait=every(0.05))

    # ---- what is seen

    @property
    def traffic(self) -> dict[str, int]:
        return dict(self.platform.traffic(ENDPOINT).weights)

    @property
    def previous(self) -> dict[str, int]:
        return dict(self.platform.traffic(ENDPOINT).previous)

    @property
    def deployments(self) -> set[str]:
        return {found.name for found in self.platform.owned(DEPLOYMENT, endpoint=ENDPOINT) if found.state != "Deleting"}

    def proven(self, version: Version) -> bool:
        found = self.platform.get(DEPLOYMENT, version.name, endpoint=ENDPOINT)
        assert found is not None
        return stable.PROVEN in found.tags

    def events(self, version: Version) -> list[str]:
        """The kinds of the release events under the version's decision, in order."""
        store = tracking.local_store(self.project.state)
        return [event.kind for event in tracking.events(store, version.judged.run_id)]
