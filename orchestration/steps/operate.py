"""Working with what serves: finding an endpoint by prompt flow and environment, and going back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.errors import ConfigurationError, PlatformError, ResourceNotFound
from orchestration.platforms import open_platform
from orchestration.platforms.base import SUCCEEDED, OnlineDeployment, Platform
from orchestration.steps import prepare
from orchestration.steps.ledger import note
from orchestration.steps.serving import refuse_foreign
from orchestration.steps.stable import PROVEN, is_stable, way_back
from orchestration.steps.work import Work
from orchestration.validation import nearest
from orchestration.values import Json, Traffic


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint, the platform that has it, and the prompt flow behind it."""

    work: Work
    platform: Platform

    @property
    def endpoint(self) -> str:
        return self.work.endpoint

    @property
    def sample(self) -> Mapping[str, Any]:
        """The prompt flow's sample request."""
        return self.work.spec.sample.inputs

    def serving(self) -> str:
        """The online deployment with most of the traffic. Raises `ResourceNotFound`."""
        weights = self.platform.traffic(self.endpoint).weights
        if not weights:
            raise ResourceNotFound(f"Endpoint {self.endpoint} has no traffic.", cure="Next: sluice run")
        return max(weights, key=lambda name: weights[name])

    def check_deployment(self, name: str) -> str:
        """The name, if the endpoint has an online deployment of it. Raises `ConfigurationError` with those there are."""
        known = [each.name for each in self.platform.owned(OnlineDeployment.kind, endpoint=self.endpoint)]
        if name not in known:
            cure = nearest(name, known) or "Next: sluice run"
            raise ConfigurationError(f"Endpoint {self.endpoint} has no online deployment {name!r}.", cure=cure)
        return name


def target(environment: str, prompt_flow: str | None) -> Target:
    """The endpoint of a prompt flow (by default the configured one) in an environment."""
    work = prepare.take(prepare.one_request(environment, prompt_flow), check_dirty=False)
    return Target(work, open_platform(work.settings))


def go_back(at: Target) -> Traffic:
    """All traffic to the map before the live one, which becomes the previous one: doing it twice goes forward.

    Raises `PlatformError` if what served before can't serve, or was never proven: its release was interrupted.
    """
    platform, endpoint = at.platform, at.endpoint
    refuse_foreign(at.work)
    with platform.hold(endpoint, owner=f"rollback {at.work.label}"):
        live = platform.traffic(endpoint)
        if not live.previous:
            raise PlatformError(
                f"Endpoint {endpoint} has no earlier traffic to go back to.", cure="Next: sluice status"
            )
        for name in live.previous:
            _check_serves(at, name)
        # Nobody should go forward to half a rollout.
        previous = live.weights if is_stable(live.weights) else way_back(at.work, live.previous)
        after = platform.set_traffic(endpoint, live.previous, generation=live.generation, previous=previous)
        _record(at, after)
    return after


def _check_serves(at: Target, name: str) -> None:
    found = at.platform.get(OnlineDeployment.kind, name, endpoint=at.endpoint)
    if found is None or found.state != SUCCEEDED:
        state = found.state if found else "gone"
        raise PlatformError(f"{name} can't take the traffic: it is {state}.", cure="Next: sluice status")
    if PROVEN not in found.tags:
        message = f"{name} can't take the traffic: its release was interrupted before it was proven."
        raise PlatformError(message, cure="Next: sluice run")


def _record(at: Target, traffic: Traffic) -> None:
    found = at.platform.get(OnlineDeployment.kind, next(iter(traffic.weights)), endpoint=at.endpoint)
    if found is not None and {"run", "decision"} <= set(found.tags):
        detail: dict[str, Json] = {"traffic": dict(traffic.weights), "before": dict(traffic.previous)}
        note(at.work.settings, found.tags["run"], found.tags["decision"], "rollback", detail)
