"""How a local endpoint stands now: asked of its gateway, or read from disk if that does not run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.errors import PlatformUnavailable, ResourceDamaged
from orchestration.platforms.base import DAMAGED, DELETING, OWNER_TAG, STOPPED, Endpoint, Found, OnlineDeployment
from orchestration.platforms.local.admin_client import ask
from orchestration.platforms.local.desired import FAILED_STATE, DesiredEndpoint
from orchestration.platforms.local.folder import EndpointFolder, endpoint_folders
from orchestration.platforms.local.launch import live_gateway

NO_GATEWAY = "Its gateway does not run; `sluice endpoint start` starts it."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One endpoint. `pid` is None if its gateway does not run; `waiting` names what needs its connections again."""

    desired: DesiredEndpoint
    endpoint: Found
    deployments: Mapping[str, Found]
    waiting: tuple[str, ...] = ()
    pid: int | None = None

    @property
    def url(self) -> str:
        """The scoring address."""
        return f"http://{self.desired.host}:{self.desired.port}/score"


def snapshot(folder: EndpointFolder) -> Snapshot | None:
    """The endpoint as it stands; None if it is truly absent.

    Raises `ResourceDamaged` if its state can't be read, `PlatformUnavailable` if its gateway hangs.
    """
    desired = folder.load()
    if desired is None:
        return None
    daemon = live_gateway(folder)
    if daemon is None:
        return _stopped(desired)
    try:
        return _live(desired, ask(desired.socket, "GET", "/"), daemon.pid)
    except PlatformUnavailable:
        ended = folder.load()
        if ended is None:
            return None  # it was removed meanwhile, and its gateway is about to end
        if live_gateway(folder) is not None:
            raise
        return _stopped(ended)


def running(state: Path) -> list[Snapshot]:
    """Every endpoint below the state folder, running or not; one that can't be read is left out with a warning."""
    found = []
    for folder in endpoint_folders(state):
        try:
            found.append(snapshot(folder))
        except ResourceDamaged as error:
            _log.warning("%s", error)
    return [each for each in found if each is not None]


def endpoint_of(folder: EndpointFolder) -> Found | None:
    """The endpoint alone, `DAMAGED` where its state can't be read: it lies with ours, so it counts as ours."""
    try:
        found = snapshot(folder)
    except ResourceDamaged as error:
        return Found(Endpoint.kind, folder.name, DAMAGED, str(error), {OWNER_TAG: ""})
    return None if found is None else found.endpoint


def _live(desired: DesiredEndpoint, answer: Mapping[str, Any], pid: int) -> Snapshot:
    deployments = {
        name: Found(OnlineDeployment.kind, name, d["state"], d["message"], d["tags"])
        for name, d in answer["deployments"].items()
    }
    waiting = tuple(name for name, d in answer["deployments"].items() if d["needs_connections"])
    endpoint = Found(Endpoint.kind, desired.name, answer["state"], tags=answer["tags"])
    return Snapshot(desired, endpoint, deployments, waiting, pid)


def _stopped(desired: DesiredEndpoint) -> Snapshot:
    deployments = {
        name: Found(OnlineDeployment.kind, name, d.state, d.message, d.tags)
        if d.state in (DELETING, FAILED_STATE)
        else Found(OnlineDeployment.kind, name, STOPPED, NO_GATEWAY, d.tags)
        for name, d in desired.deployments.items()
    }
    state, message = (DELETING, "") if desired.state == DELETING else (STOPPED, NO_GATEWAY)
    return Snapshot(desired, Found(Endpoint.kind, desired.name, state, message, desired.tags), deployments)
