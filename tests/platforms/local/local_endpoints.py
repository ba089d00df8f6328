"""A local platform with real gateways and servers; its prompt flows are callables, so a server starts in a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestration.platforms.base import Endpoint, Found, OnlineDeployment
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.platform import LocalPlatform
from orchestration.polling import every, wait_until
from orchestration.values import Binding, Candidate, Json, ModelVersion, Traffic, sha256

LIMITS = Limits(start_seconds=30, drain_seconds=5, end_seconds=2, backoff_seconds=0.05, probe_seconds=5)
APP = """
import os, time

def answer(text: str, sleep: float = 0.0, do: str = "", connections={}):
    if do == "raise":
        raise ValueError("no such thing")
    if do == "exit":
        os._exit(3)
    if do == "print":
        print(text, flush=True)
    if do == "environment":
        return {"label": dict(os.environ), "by": "VERSION"}
    time.sleep(sleep)
    return {"label": text.upper(), "by": "VERSION", "pid": os.getpid()}
"""


class PlainModels:
    """A registry of folders that were never changed."""

    def find_model(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        return None

    def register_model(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        raise NotImplementedError

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        raise NotImplementedError

    def folder(self, model: ModelVersion) -> Path:
        return Path(model.uri)

    def verify(self, model: ModelVersion) -> None:
        return None


@dataclass
class Local:
    """A platform below a folder, and what tests do with it again and again."""

    folder: Path
    runtime: Path
    connections: dict[str, dict[str, Json]] = field(default_factory=dict)
    limits: Limits = LIMITS
    runtimes: Callable[[str], Path] | None = None

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def platform(self, port: int = 0) -> LocalPlatform:
        return LocalPlatform(
            self.state,
            port=port,
            upstreams=lambda _: self.connections,
            limits=self.limits,
            models=PlainModels(),
            runtimes=self.runtimes,
        )

    def flow(self, version: str, source: str = APP) -> ModelVersion:
        folder = self.folder / "flows" / version
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "callable.toml").write_text('entry = "app:answer"\noutputs = ["label"]\n')
        (folder / "app.py").write_text(source.replace("VERSION", version))
        return ModelVersion("shout", version, sha256(source + version), "decision", str(folder))

    def deployment(self, name: str, *, source: str = APP, endpoint: str = "shout-local") -> OnlineDeployment:
        binding = Binding("local", {n: {"type": "custom"} for n in self.connections}, "b" * 64)
        return OnlineDeployment(name, endpoint, self.flow(name, source), binding, self.runtime, tags={"run": "1"})

    def deployed(self, *names: str, weights: Mapping[str, int] | None = None) -> LocalPlatform:
        """A platform with an endpoint and these online deployments, all serving, and this traffic."""
        platform = self.platform()
        platform.create(Endpoint("shout-local"))
        for name in names:
            platform.create(self.deployment(name))
        for name in names:
            until_settled(platform, name)
        if weights:
            set_traffic(platform, weights)
        return platform


def until_settled(platform: LocalPlatform, name: str, endpoint: str = "shout-local") -> Found:
    """Wait until the online deployment is Succeeded or Failed."""

    def settled() -> Found | None:
        found = platform.get(OnlineDeployment.kind, name, endpoint=endpoint)
        assert found is not None
        return found if found.state in ("Succeeded", "Failed") else None

    return wait_until(settled, what=name, timeout_seconds=30, wait=every(0.02))


def eventually(condition: Callable[[], object], *, seconds: float = 20) -> None:
    """Wait until the condition holds."""
    wait_until(lambda: True if condition() else None, what="the condition", timeout_seconds=seconds, wait=every(0.02))


def set_traffic(platform: LocalPlatform, weights: Mapping[str, int]) -> Traffic:
    generation = platform.traffic("shout-local").generation
    return platform.set_traffic("shout-local", weights, generation=generation)
