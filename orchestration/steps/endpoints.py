"""Endpoints as a whole: which there are, bringing them back after a reboot, ending them, deleting them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.candidates import list_prompt_flows
from orchestration.errors import ConfigurationError, PlatformTimeout
from orchestration.platforms import open_local, open_platform, stop_endpoints
from orchestration.platforms.base import DAMAGED, FAILED, SUCCEEDED, Endpoint, OnlineDeployment, Platform
from orchestration.platforms.names import endpoint_name
from orchestration.polling import REAL, Clock, every, wait_until
from orchestration.settings import Settings, list_environments, load_settings
from orchestration.steps import serving
from orchestration.steps.ledger import note
from orchestration.validation import nearest
from orchestration.values import Json

POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a deletion would remove; registered versions and decisions always stay."""

    endpoint: str
    url: str
    deployments: tuple[Mapping[str, Any], ...]
    damage: str = ""

    def text(self) -> str:
        """The plan, for the question before it."""
        if self.damage:
            return f"{self.damage}\nDeleting it removes what is left of it. Registered versions and decisions stay."
        served = [f"  {each['traffic']:3d} %  {each['name']}  {each['model']}" for each in self.deployments]
        lines = [f"Deleting endpoint {self.endpoint} ({self.url}) removes its address, its key and"]
        return "\n".join([*lines, *(served or ["  no online deployment"]), "Registered versions and decisions stay."])


def settings_of(root: Path, environment: str | None) -> list[Settings]:
    """The settings of one environment, or of all of them."""
    names = list_environments(root) if environment is None else [environment]
    return [load_settings(root, name) for name in names]


def listed(each: Settings) -> list[dict[str, Any]]:
    """The endpoints of an environment with their online deployments and traffic; a damaged one may be any's."""
    found = serving.overview(open_platform(each), each.environment)
    return [{"environment": None if e["state"] == DAMAGED else each.environment, **e} for e in found]


def listed_in(chosen: Sequence[Settings]) -> list[dict[str, Any]]:
    """The endpoints of several environments, each once."""
    found = [endpoint for each in chosen for endpoint in listed(each)]
    return list({(endpoint["environment"], endpoint["name"]): endpoint for endpoint in found}.values())


def check(settings: Settings, name: str) -> None:
    """What can be found wrong with an endpoint before a release to it is paid for.

    Raises `ResourceDamaged`, and `ConfigurationError` if it would have to listen on a port that is taken.
    """
    found, wanted = open_platform(settings).get(Endpoint.kind, name), settings.endpoint
    ours = settings.platform == "local" and wanted.port and not settings.evaluate_only
    if not ours or (found is not None and found.state == SUCCEEDED):
        return
    if problem := port_problem(wanted.host, wanted.port):
        message = f"{wanted.host}:{wanted.port} can't be listened on: {problem}."
        cure = "Set endpoint.port to a free port, or to 0 for any."
        raise ConfigurationError(message, at=settings.at("endpoint", "port"), cure=cure)


def port_problem(host: str, port: int) -> str:
    """Why nobody could listen there now; empty if somebody could."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        return error.strerror or os.strerror(error.errno or 0)
    return ""


def resolve_name(settings: Settings, name: str) -> str:
    """The endpoint that is meant: by its own name, or by its prompt flow's. Raises `ConfigurationError`."""
    known = _names(settings)
    derived = settings.endpoint.name or endpoint_name(name, settings.environment)
    for each in (name, derived):
        if each in known:
            return each
    flows = list_prompt_flows(settings.root)
    again = f"Next: sluice run {name} -e {settings.environment}"
    cure = again if name in flows else nearest(name, [*known, *flows])
    raise ConfigurationError(f"{settings.environment} has no endpoint {name!r}.", cure=cure)


def start(settings: Settings, name: str | None = None, *, clock: Clock = REAL) -> dict[str, str]:
    """Start an environment's endpoints that don't run, or one of them, and wait until they serve.

    What could not be started, with the reason: empty if all of them serve.
    """
    names = [resolve_name(settings, name)] if name else _names(settings)
    told = open_local(settings).start_all(names) if names else []
    problems = {place: reason for place, _, reason in (line.partition(": ") for line in told)}
    for each in names:
        if each not in problems:
            problems |= _settled(settings, each, known=problems, clock=clock)
    return problems


def stop(settings: Settings, name: str | None = None, *, say: Callable[[str], None]) -> list[str]:
    """End the processes of an environment's endpoints, or of one; what serves comes back with `start`."""
    names = [resolve_name(settings, name)] if name else _names(settings)
    return stop_endpoints(settings.state, say=say, names=names)


def deletion(settings: Settings, name: str) -> Deletion:
    """What deleting an endpoint would remove. Raises `ConfigurationError` if there is none of that name."""
    wanted = resolve_name(settings, name)
    found = next(each for each in listed(settings) if each["name"] == wanted)
    damage = found["message"] if found["state"] == DAMAGED else ""
    return Deletion(wanted, found["url"], tuple(found["deployments"]), damage)


def delete(settings: Settings, planned: Deletion, *, clock: Clock = REAL) -> None:
    """Remove the endpoint with all its online deployments, and wait until it is gone.

    Raises `EndpointHeld` while a release is under way.
    """
    platform, name = open_platform(settings), planned.endpoint
    with platform.hold(name, owner=f"endpoint delete {name}"):
        decision = None if planned.damage else _serving_decision(platform, name)
        platform.delete(Endpoint.kind, name)
        wait_until(
            lambda: True if platform.get(Endpoint.kind, name) is None else None,
            what=f"The removal of endpoint {name}",
            timeout_seconds=settings.rollout.ready_timeout_seconds + settings.rollout.drain_seconds,
            wait=every(POLL_SECONDS),
            clock=clock,
        )
    if decision:
        detail: dict[str, Json] = {"endpoint": name, "environment": settings.environment}
        note(settings, decision[0], decision[1], "endpoint-deleted", detail)


def _names(settings: Settings) -> list[str]:
    found = open_platform(settings).owned(Endpoint.kind)
    return [e.name for e in found if e.state == DAMAGED or e.tags.get("environment") == settings.environment]


def _settled(settings: Settings, endpoint: str, *, known: Mapping[str, str], clock: Clock) -> dict[str, str]:
    """The problems of an endpoint's online deployments, once each serves, has failed, or is known not to start."""
    platform, last = open_platform(settings), [""]

    def ready() -> dict[str, str] | None:
        found = platform.owned(OnlineDeployment.kind, endpoint=endpoint)
        open_ends = [each for each in found if f"{endpoint}/{each.name}" not in known and endpoint not in known]
        last[0] = ", ".join(f"{each.name} {each.state}" for each in open_ends)
        if any(each.state != SUCCEEDED and each.state not in FAILED for each in open_ends):
            return None
        return {f"{endpoint}/{each.name}": each.message for each in open_ends if each.state in FAILED}

    seconds = settings.rollout.ready_timeout_seconds
    try:
        return wait_until(
            ready,
            what=f"Endpoint {endpoint}",
            timeout_seconds=seconds,
            wait=every(POLL_SECONDS),
            clock=clock,
            last=lambda: last[0],
        )
    except PlatformTimeout as error:
        return {endpoint: str(error)}


def _serving_decision(platform: Platform, endpoint: str) -> tuple[str, str] | None:
    """Run and hash of the decision under which most of the traffic was served; None if there was no traffic."""
    weights = platform.traffic(endpoint).weights
    names: Sequence[str] = sorted(weights, key=lambda name: weights[name], reverse=True)
    for name in names[:1]:
        found = platform.get(OnlineDeployment.kind, name, endpoint=endpoint)
        if found is not None and {"run", "decision"} <= set(found.tags):
            return found.tags["run"], found.tags["decision"]
    return None
