"""What an endpoint serves now, and whether that is exactly what was just judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration import tracking
from orchestration.errors import PlatformError, ResourceNotFound
from orchestration.platforms import open_platform
from orchestration.platforms.base import Endpoint, Found, OnlineDeployment, Platform
from orchestration.steps.waiting import wait_for
from orchestration.steps.work import Work, owner_tags
from orchestration.values import Json, Traffic


@dataclass(frozen=True, slots=True)
class Serving:
    """The online deployment that has all of an endpoint's traffic."""

    endpoint: str
    url: str
    traffic: Traffic
    deployment: Found


def find(work: Work) -> Serving | None:
    """The deployment with all the traffic; None when there is no endpoint, no traffic, or a split."""
    platform = open_platform(work.settings)
    try:
        traffic = platform.traffic(work.endpoint)
    except ResourceNotFound:
        return None
    whole = [name for name, weight in traffic.weights.items() if weight == 100]
    if not whole:
        return None
    found = platform.get(OnlineDeployment.kind, whole[0], endpoint=work.endpoint)
    return Serving(work.endpoint, platform.url(work.endpoint), traffic, found) if found else None


def check(work: Work) -> Serving | None:
    """What serves, if it has this content and binding and is healthy; else None.

    An endpoint that should serve it and does not run (after a reboot, say) is brought back first.
    """
    serving = find(work)
    if serving is None or not same(work, serving.deployment):
        return None
    try:
        open_platform(work.settings).create(Endpoint(work.endpoint, tags=owner_tags(work)))
        wait_for(work, Endpoint.kind, work.endpoint)
        wait_for(work, OnlineDeployment.kind, serving.deployment.name, endpoint=work.endpoint)
    except PlatformError:
        return None  # not healthy: a rollout repairs it, or fails with the reason
    return find(work)


def same(work: Work, deployment: Found) -> bool:
    """Whether a deployment serves this content under this binding."""
    wanted = {"content": work.candidate.content_hash, "binding": work.binding.binding_hash}
    return all(deployment.tags.get(name) == value for name, value in wanted.items())


def judged_hashes(work: Work, deployment: Found) -> Mapping[str, Json] | None:
    """The hashes of the decision under which a deployment serves; None if the ledger was removed."""
    run, name = deployment.tags.get("run"), deployment.tags.get("decision")
    if not run or not name:
        return None
    try:
        document = tracking.load_decision(tracking.local_store(work.state), run, sha256=name)
    except PlatformError:
        return None
    hashes = document["hashes"]
    return hashes if isinstance(hashes, Mapping) else None


def overview(platform: Platform, environment: str) -> list[dict[str, Any]]:
    """Every endpoint of ours in an environment, with its deployments and their traffic."""
    return [
        _described(platform, found.name)
        for found in platform.owned(Endpoint.kind)
        if found.tags.get("environment") == environment
    ]


def overview_text(endpoint: Mapping[str, Any]) -> list[str]:
    """An overview's entry as lines for people."""
    lines = [f"{endpoint['name']}  {endpoint['state']}  {endpoint['url']}"]
    return lines + [
        f"  {each['traffic']:3d} %  {each['name']}  {each['state']}  {each['model']}  commit {each['commit'][:8]}"
        for each in endpoint["deployments"]
    ]


def _described(platform: Platform, name: str) -> dict[str, Any]:
    found, weights = platform.get(Endpoint.kind, name), platform.traffic(name).weights
    deployments = [
        {
            "name": each.name,
            "state": each.state,
            "traffic": weights.get(each.name, 0),
            "model": each.tags.get("model", ""),
            "commit": each.tags.get("commit", ""),
            "decision": each.tags.get("decision", ""),
        }
        for each in platform.owned(OnlineDeployment.kind, endpoint=name)
    ]
    state = found.state if found else "absent"
    return {"name": name, "state": state, "url": platform.url(name), "deployments": deployments}
