"""How a local endpoint stands now: asked of its gateway, or read from disk if that does not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.errors import PlatformUnavailable
from orchestration.platforms.base import Endpoint, Found, OnlineDeployment
from orchestration.platforms.local.admin_client import ask
from orchestration.platforms.local.desired import DELETING, FAILED_STATE, STOPPED, DesiredEndpoint
from orchestration.platforms.local.folder import EndpointFolder, endpoint_folders
from orchestration.platforms.local.launch import live_gateway

NO_GATEWAY = "Its gateway does not run; `sluice endpoint start` starts it."


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
    """The endpoint as it stands; None if it is truly absent. Raises `PlatformUnavailable` if its gateway hangs."""
    desired, daemon = folder.load(), live_gateway(folder)
    if desired is None:
        return None
    if daemon is None:
        return _stopped(desired)
    try:
        return _live(desired, ask(desired.socket, "GET", "/"), daemon.pid)
    except PlatformUnavailable:
        if live_gateway(folder) is not None:
            raise
        ended = folder.load()  # it ended meanwhile, maybe with the endpoint
        return None if ended is None else _stopped(ended)


def running(state: Path) -> list[Snapshot]:
    """Every endpoint below the state folder, running or not."""
    return [found for folder in endpoint_folders(state) if (found := snapshot(folder)) is not None]


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
