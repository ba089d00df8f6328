"""An endpoint belongs to one prompt flow in one environment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rollouts import Rollouts

from orchestration.errors import ResourceRefused
from orchestration.platforms.base import Endpoint
from orchestration.platforms.local.desired import DesiredEndpoint
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.steps import operate, plan, rollout, serving
from orchestration.steps.operate import Target
from orchestration.steps.work import Work

NAME = "shared"
OWNERS = [{"prompt_flow": "other", "environment": "local"}, {"prompt_flow": "tiny", "environment": "dev"}]


@pytest.fixture(params=OWNERS, ids=["prompt-flow", "environment"])
def work(rollouts: Rollouts, request: pytest.FixtureRequest) -> Work:
    """A release to an endpoint that another one has, by an endpoint.name that both were given."""
    rollouts.set(f"endpoint: {{name: {NAME}}}\n")
    rollouts.project.state.mkdir()
    EndpointFolder.of(rollouts.project.state, NAME).create(DesiredEndpoint(NAME, {"sluice": "1", **request.param}))
    return rollouts.work("blue")


def test_nobody_else_releases_to_it_or_puts_its_traffic_back(rollouts: Rollouts, work: Work) -> None:
    tags = rollouts.platform.get(Endpoint.kind, NAME).tags
    for attempt in (
        lambda: rollout.ensure_endpoint(work),
        lambda: serving.check(work),
        lambda: operate.go_back(Target(work, rollouts.platform)),
        lambda: plan.make_plan(work),
    ):
        with pytest.raises(ResourceRefused, match=f"{NAME} belongs to {tags['prompt_flow']} in {tags['environment']}"):
            attempt()
    assert rollouts.platform.get(Endpoint.kind, NAME).tags == tags
    assert rollouts.platform.get(Endpoint.kind, NAME).state == "Stopped"


@pytest.mark.real
def test_not_even_if_it_serves_the_very_same(rollouts: Rollouts) -> None:
    for environment in ("local", "dev"):
        rollouts.set(f"endpoint: {{name: {NAME}}}\n", environment)
    blue = rollouts.passed("blue")
    rollouts.release(blue)
    settings = rollouts.work("blue", environment="dev").settings
    other = replace(blue.work, settings=settings)
    assert serving.same(other, serving.find(other).deployment)
    with pytest.raises(ResourceRefused, match="belongs to tiny in local"):
        serving.check(other)
    assert rollouts.platform.get(Endpoint.kind, NAME).tags["environment"] == "local"
