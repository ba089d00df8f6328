"""Tags are merged into those of what is ours, whether its gateway runs or not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from local_endpoints import Local

from orchestration.errors import PlatformConflict, ResourceNotFound, ResourceRefused
from orchestration.platforms.base import DELETING, OWNER_TAG, Endpoint, OnlineDeployment
from orchestration.platforms.local.desired import Deployment, DesiredEndpoint, tagged
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import live_gateway, stop_all
from orchestration.platforms.local.platform import LocalPlatform

ENDPOINT, DEPLOYMENT = Endpoint.kind, OnlineDeployment.kind


def tags(platform: LocalPlatform) -> tuple[dict[str, str], dict[str, str]]:
    endpoint = platform.get(ENDPOINT, "shout-local")
    deployment = platform.get(DEPLOYMENT, "blue", endpoint="shout-local")
    assert endpoint is not None
    assert deployment is not None
    return dict(endpoint.tags), dict(deployment.tags)


@pytest.mark.real
def test_tags_are_merged_while_it_runs_and_while_it_does_not(local: Local) -> None:
    platform = local.deployed("blue")
    platform.tag(DEPLOYMENT, "blue", {"proven": "today"}, endpoint="shout-local")
    platform.tag(ENDPOINT, "shout-local", {"team": "a"})
    expected = ({OWNER_TAG: "", "team": "a"}, {OWNER_TAG: "", "run": "1", "proven": "today"})
    assert tags(platform) == expected
    stop_all(local.state)
    assert tags(platform) == expected  # it was on disk
    platform.tag(DEPLOYMENT, "blue", {"run": "2"}, endpoint="shout-local")
    platform.tag(ENDPOINT, "shout-local", {"team": "b"})
    assert live_gateway(EndpointFolder.of(local.state, "shout-local")) is None
    assert tags(platform) == ({OWNER_TAG: "", "team": "b"}, {OWNER_TAG: "", "run": "2", "proven": "today"})


@pytest.mark.real
def test_what_is_not_there_has_no_tags(local: Local) -> None:
    with pytest.raises(ResourceNotFound):
        local.platform().tag(ENDPOINT, "shout-local", {"a": "b"})
    platform = local.deployed()
    with pytest.raises(ResourceNotFound):
        platform.tag(DEPLOYMENT, "blue", {"a": "b"}, endpoint="shout-local")


def deployment(**given: str) -> Deployment:
    return Deployment("blue", spec=None, tags=given)  # type: ignore[arg-type] - no rule of tags looks at it


@pytest.mark.parametrize("name", ["", "blue"])
def test_what_is_not_ours_or_going_is_not_tagged(name: str) -> None:
    foreign = DesiredEndpoint("shout-local").put(deployment())
    with pytest.raises(ResourceRefused):
        tagged(foreign, {"a": "b"}, name)
    ours = DesiredEndpoint("shout-local", {OWNER_TAG: ""}).put(deployment(**{OWNER_TAG: ""}))
    going = replace(ours, state=DELETING).mark("blue", DELETING)
    with pytest.raises(PlatformConflict, match="being deleted"):
        tagged(going, {"a": "b"}, name)
