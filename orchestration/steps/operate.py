"""Working with what serves: finding an endpoint by prompt flow and environment, and going back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.errors import PlatformError, ResourceNotFound
from orchestration.platforms import open_platform
from orchestration.platforms.base import SUCCEEDED, OnlineDeployment, Platform
from orchestration.steps import prepare
from orchestration.steps.ledger import append
from orchestration.steps.work import Work
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


def target(environment: str, prompt_flow: str | None) -> Target:
    """The endpoint of a prompt flow (by default the configured one) in an environment."""
    work = prepare.take(prepare.one_request(environment, prompt_flow), check_dirty=False)
    return Target(work, open_platform(work.settings))


def go_back(at: Target) -> Traffic:
    """All traffic to the map before the live one, which becomes the previous one: doing it twice goes forward."""
    platform, endpoint = at.platform, at.endpoint
    with platform.hold(endpoint, owner=f"rollback {at.work.label}"):
        live = platform.traffic(endpoint)
        if not live.previous:
            raise PlatformError(f"Endpoint {endpoint} has no earlier traffic to go back to.")
        for name in live.previous:
            found = platform.get(OnlineDeployment.kind, name, endpoint=endpoint)
            if found is None or found.state != SUCCEEDED:
                state = found.state if found else "gone"
                raise PlatformError(f"{name} can't take the traffic back: it is {state}.", cure="Next: sluice status")
        after = platform.set_traffic(endpoint, live.previous, generation=live.generation)
        _record(at, after)
    return after


def _record(at: Target, traffic: Traffic) -> None:
    found = at.platform.get(OnlineDeployment.kind, next(iter(traffic.weights)), endpoint=at.endpoint)
    if found is not None and {"run", "decision"} <= set(found.tags):
        detail: dict[str, Json] = {"traffic": dict(traffic.weights), "before": dict(traffic.previous)}
        append(at.work.state, found.tags["run"], found.tags["decision"], "rollback", detail)
