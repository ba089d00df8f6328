"""What an endpoint serves now, and whether that is exactly what was just judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration import tracking
from orchestration.errors import NotAuthorized, PlatformError, PlatformUnavailable, ResourceNotFound, ResourceRefused
from orchestration.platforms import open_platform, open_store
from orchestration.platforms.base import DAMAGED, Endpoint, Found, OnlineDeployment, Platform
from orchestration.polling import REAL, Clock
from orchestration.steps.stable import PROVEN
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


def check(work: Work, *, clock: Clock = REAL) -> Serving | None:
    """What serves, if it has this content and binding, was proven, is on record and healthy; else None.

    An endpoint that should serve it is brought up first: it may not run (after a reboot, say), or a key may have been
    rotated. Raises `ResourceRefused` for an endpoint of another prompt flow or environment.
    """
    refuse_foreign(work)
    serving = find(work)
    if serving is None or not settled(work, serving.deployment) or not on_record(work, serving.deployment):
        return None
    try:
        open_platform(work.settings).create(Endpoint(work.endpoint, tags=owner_tags(work)))
        wait_for(work, Endpoint.kind, work.endpoint, clock=clock)
        wait_for(work, OnlineDeployment.kind, serving.deployment.name, endpoint=work.endpoint, clock=clock)
    except PlatformUnavailable:
        raise  # it is tried again
    except PlatformError:
        return None  # not healthy: a rollout repairs it, or fails with the reason
    return find(work)


def same(work: Work, deployment: Found) -> bool:
    """Whether a deployment serves this content under this binding."""
    wanted = {"content": work.candidate.content_hash, "binding": work.binding.binding_hash}
    return all(deployment.tags.get(name) == value for name, value in wanted.items())


def on_record(work: Work, deployment: Found) -> bool:
    """Whether the ledger still has the decision it serves by, and the registry its version. Else both are made anew."""
    tags = deployment.tags
    model = open_platform(work.settings).find_model(work.candidate.prompt_flow, work.candidate.content_hash)
    if model is None or tags.get("model") != f"{model.name}:{model.version}":
        return False
    return tracking.holds(open_store(work.settings), tags.get("run", ""), tags.get("decision", ""))


def settled(work: Work, deployment: Found) -> bool:
    """Whether a deployment serves this, and its release was not interrupted in the last step."""
    return same(work, deployment) and PROVEN in deployment.tags


def refuse_foreign(work: Work) -> None:
    """Raise `ResourceRefused` if the endpoint belongs to another prompt flow or environment."""
    found, wanted = open_platform(work.settings).get(Endpoint.kind, work.endpoint), owner_tags(work)
    if found is not None and any(found.tags.get(tag) not in (None, value) for tag, value in wanted.items()):
        owner = f"{found.tags.get('prompt_flow')} in {found.tags.get('environment')}"
        cure = "Give each its own endpoint.name in config/, or none."
        raise ResourceRefused(f"Endpoint {work.endpoint} belongs to {owner}.", cure=cure)


def judged_hashes(work: Work, deployment: Found) -> Mapping[str, Json] | None:
    """The hashes of the decision under which a deployment serves; None if the ledger was removed or changed."""
    run, name = deployment.tags.get("run"), deployment.tags.get("decision")
    if not run or not name:
        return None
    try:
        document = tracking.load_decision(open_store(work.settings), run, sha256=name)
    except (PlatformError, NotAuthorized):
        return None
    hashes = document["hashes"]
    return hashes if isinstance(hashes, Mapping) else None


def overview(platform: Platform, environment: str) -> list[dict[str, Any]]:
    """Every endpoint of ours in an environment, with its deployments and their traffic.

    One that can't be read is listed in each: nobody knows where it belongs.
    """
    return [
        _described(platform, found)
        for found in platform.owned(Endpoint.kind)
        if found.state == DAMAGED or found.tags.get("environment") == environment
    ]


def overview_text(endpoint: Mapping[str, Any]) -> list[str]:
    """An overview's entry as lines for people."""
    shown = endpoint["message"] if endpoint["state"] == DAMAGED else endpoint["url"]
    lines = [f"{endpoint['name']}  {endpoint['state']}  {shown}"]
    return lines + [
        f"  {each['traffic']:3d} %  {each['name']}  {each['state']}  {each['model']}  commit {each['commit'][:8]}"
        for each in endpoint["deployments"]
    ]


def _described(platform: Platform, found: Found) -> dict[str, Any]:
    name, about = found.name, {"name": found.name, "state": found.state, "message": found.message}
    if found.state == DAMAGED:
        return {**about, "url": "", "deployments": []}
    weights = platform.traffic(name).weights
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
    return {**about, "url": platform.url(name), "deployments": deployments}
