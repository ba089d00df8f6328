"""One endpoint as it lives in its gateway: makes the machine follow the desired state, and changes that by the rules.

Everything runs in one event loop and no change awaits anything, so changes never interleave. A change is on
disk before it takes effect and before anyone is told.
"""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from orchestration.errors import PlatformConflict, ResourceNotFound
from orchestration.platforms.base import DELETING, SUCCEEDED
from orchestration.platforms.local.desired import (
    CREATING,
    FAILED_STATE,
    Deployment,
    DesiredEndpoint,
    admit,
    change_traffic,
    check_owned,
    dismiss,
    tagged,
)
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.server import Server
from orchestration.values import Traffic


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """How one online deployment stands now."""

    state: str
    message: str
    tags: Mapping[str, str]
    needs_connections: bool


class LiveEndpoint:
    """The endpoint of one folder; `session` is the pool of connections to its servers."""

    def __init__(
        self, folder: EndpointFolder, desired: DesiredEndpoint, *, limits: Limits, session: aiohttp.ClientSession
    ) -> None:
        self.folder, self.desired, self.limits, self.session = folder, desired, limits, session
        self.ended = asyncio.Event()  # the gateway is to end
        self._servers: dict[str, Server] = {}
        self._removals: set[asyncio.Task[None]] = set()
        self._random = random.Random()  # noqa: S311 - spreads requests

    def resume(self) -> None:
        """Take up the desired state: start what served, finish what was being removed."""
        if self.folder.last_noted_generation() < self.desired.generation:
            self.folder.note_traffic(self.desired, self.states(), late=True)
        for deployment in self.desired.deployments.values():
            if deployment.state == DELETING:
                self._remove(deployment.name)
            elif deployment.state != FAILED_STATE:
                self._server(deployment).start()
        if self.desired.state == DELETING:
            self.ended.set()

    # ---- what it is asked

    def status(self, name: str) -> DeploymentStatus:
        """How that online deployment stands. Raises `ResourceNotFound`."""
        deployment = self.desired.deployment(name)
        server = self._servers.get(name)
        if server is None or deployment.state in (DELETING, FAILED_STATE):
            return DeploymentStatus(deployment.state, deployment.message, deployment.tags, needs_connections=False)
        return DeploymentStatus(server.state, server.message, deployment.tags, server.needs_connections)

    def states(self) -> dict[str, str]:
        """The state of each online deployment."""
        return {name: self.status(name).state for name in self.desired.deployments}

    def server(self, name: str) -> Server:
        """The server that takes requests for that name. Raises `ResourceNotFound`."""
        deployment = self.desired.deployments.get(name)
        if deployment is None or deployment.state == DELETING or name not in self._servers:
            raise ResourceNotFound(f"The endpoint {self.desired.name} has no online deployment {name} that serves.")
        return self._servers[name]

    def choose(self) -> Server | None:
        """A server by the weights; None if no deployment has traffic."""
        weights = self.desired.weights
        if not any(weights.values()):
            return None
        name = next(iter(self._random.choices(list(weights), weights=list(weights.values()))))
        return self.server(name)

    # ---- what it is told

    def create(self, wanted: Deployment, wire: Mapping[str, Any]) -> None:
        """Start to create it, or adopt it with its new tags; `wire`: its connections with their secrets."""
        again = wanted.name in self.desired.deployments and self.desired.deployment(wanted.name).state == FAILED_STATE
        self._save(admit(self.desired, wanted))
        if again:
            self._servers.pop(wanted.name, None)
        server = self._server(self.desired.deployment(wanted.name))
        server.spec = wanted.spec
        server.supply(wire)

    def supply(self, name: str, wire: Mapping[str, Any]) -> None:
        """Give an online deployment its connections as they are now; see `Server.supply`."""
        self.server(name).supply(wire)

    def move(self, name: str, runtime: str) -> None:
        """Its runtime was built anew: its next start is in there, and comes at once if it could not start before."""
        self._save(self.desired.moved(name, runtime))
        server = self.server(name)
        server.spec = self.desired.deployment(name).spec
        server.hurry()

    def delete(self, name: str) -> None:
        """Start to remove it: no new requests, those in flight finish."""
        if self.desired.deployment(name).state != DELETING:
            self._save(dismiss(self.desired, name))
            self._remove(name)

    def set_traffic(
        self, weights: Mapping[str, int], generation: int, previous: Mapping[str, int] | None = None
    ) -> Traffic:
        """Replace the traffic map; see `desired.change_traffic`."""
        healthy = {name for name, state in self.states().items() if state == SUCCEEDED}
        changed = change_traffic(self.desired, weights, generation=generation, healthy=healthy, previous=previous)
        if changed is not self.desired:
            self._save(changed)
            self.folder.note_traffic(self.desired, self.states())
        return self.desired.traffic

    def retag(self, tags: Mapping[str, str]) -> None:
        """Adopt the endpoint: it carries these tags from now on."""
        if self.desired.state == DELETING:
            raise PlatformConflict(f"The endpoint {self.desired.name} is being deleted.")
        check_owned(f"endpoint {self.desired.name}", self.desired.tags)
        if dict(self.desired.tags) != dict(tags):
            self._save(replace(self.desired, tags=dict(tags)))

    def tag(self, tags: Mapping[str, str], name: str = "") -> None:
        """Merge tags into the endpoint's, or into those of one online deployment; see `desired.tagged`."""
        self._save(tagged(self.desired, tags, name))

    def delete_endpoint(self) -> None:
        """Start to remove everything; the gateway ends with it."""
        check_owned(f"endpoint {self.desired.name}", self.desired.tags)
        self._save(replace(self.desired, state=DELETING))
        self.ended.set()

    async def close(self) -> None:
        """Let all requests in flight finish and end all servers; then the folder, if the endpoint is deleted."""
        await asyncio.gather(*(server.stop(self.limits.drain_seconds) for server in self._servers.values()))
        await asyncio.gather(*self._removals)
        if self.desired.state == DELETING:
            self.folder.remove()

    # ---- how

    def _server(self, deployment: Deployment) -> Server:
        name = deployment.name
        if name not in self._servers:
            self._servers[name] = Server(
                deployment,
                log_file=self.folder.server_log(name),
                limits=self.limits,
                session=self.session,
                settled=lambda state, message: self._settle(name, state, message),
            )
        return self._servers[name]

    def _settle(self, name: str, state: str, message: str) -> None:
        if self.desired.deployment(name).state == CREATING:  # and not being deleted meanwhile
            self._save(self.desired.mark(name, state, message))

    def _remove(self, name: str) -> None:
        task = asyncio.create_task(self._finish_removal(name), name=f"remove {name}")
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _finish_removal(self, name: str) -> None:
        server = self._servers.get(name)
        if server is not None:
            await server.stop(self.limits.drain_seconds)
            del self._servers[name]
        shutil.rmtree(self.folder.deployment(name), ignore_errors=True)
        self._save(self.desired.without(name))

    def _save(self, desired: DesiredEndpoint) -> None:
        self.folder.save(desired)
        self.desired = desired
