"""Bringing an endpoint up: its gateway, the runtimes of what it serves, and its connections as they are now."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from orchestration.errors import ConfigurationError, PlatformConflict, PlatformError, ResourceNotFound
from orchestration.platforms.base import DELETING
from orchestration.platforms.local.admin_client import ask
from orchestration.platforms.local.connections import Connections, to_wire
from orchestration.platforms.local.desired import FAILED_STATE, Deployment, DesiredEndpoint
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.launch import ensure_gateway, live_gateway, stop_gateway
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.snapshot import snapshot
from orchestration.values import Binding

# From the text of a lock to the interpreter of its runtime, built if need be. Raises `PlatformError`.
Runtimes: TypeAlias = Callable[[str], Path]
LOCK = "lock.txt"  # beside the prompt flow's folder, where models are registered

_log = logging.getLogger(__name__)


def make_way(folder: EndpointFolder) -> None:
    """Finish what stands in the way of an endpoint. Call it inside `launch.starting`.

    A deletion whose gateway was killed is finished here; one under way has to be waited for (`PlatformConflict`). A
    gateway whose endpoint was removed by hand must not serve the new one: it knows another key.
    """
    desired = folder.load()
    if desired is None:
        stop_gateway(folder)
    if desired is None or desired.state != DELETING:
        return
    if live_gateway(folder) is not None:
        raise PlatformConflict(f"The endpoint {folder.name} is being deleted.")
    folder.remove()


@dataclass(frozen=True, slots=True)
class BringUp:
    """What it takes. `upstreams` resolves a binding's connections, secrets included."""

    port: int
    limits: Limits
    upstreams: Callable[[Binding], Connections]
    runtimes: Runtimes | None

    def wake(self, folder: EndpointFolder) -> None:
        """Start the gateway unless it runs. Call it inside `launch.starting`; the endpoint must be there."""
        self._mend_runtimes(folder)
        ensure_gateway(folder, port=self.port, limits=self.limits)

    def supply(self, folder: EndpointFolder) -> tuple[list[str], list[str]]:
        """Hand all online deployments the connections of today; what waits for some in vain, and what keeps its old ones.

        Secrets are on no disk, so a gateway that was started again needs them from us, and one that runs may have keys
        that were rotated since. One deployment whose connections can't be resolved any more must not keep the
        others, or a new release, from being served.
        """
        waiting: list[str] = []
        kept: list[str] = []
        found = snapshot(folder)
        for name, deployment in _serving(found.desired) if found else ():
            try:
                self._supply_one(folder, name, deployment.spec.binding)
            except (ConfigurationError, PlatformError) as error:
                (waiting if found and name in found.waiting else kept).append(f"{folder.name}/{name}: {error}")
        return waiting, kept

    def _supply_one(self, folder: EndpointFolder, name: str, binding: Binding) -> None:
        if binding.connections:
            wire = to_wire(self.upstreams(binding))
            ask(_desired(folder).socket, "PUT", f"/deployments/{name}/connections", wire)

    def _mend_runtimes(self, folder: EndpointFolder) -> None:
        for name, deployment in list(_serving(_desired(folder))):
            lock = Path(deployment.spec.flow).parent / LOCK
            if self.runtimes is None or Path(deployment.spec.runtime).exists() or not lock.is_file():
                continue
            _log.warning("The runtime of %s/%s is gone: it is built anew.", folder.name, name)
            try:
                _move(folder, name, str(self.runtimes(lock.read_text(encoding="utf-8"))))
            except PlatformError as error:  # the others can be served all the same
                _log.warning("%s/%s: %s", folder.name, name, error)


def _move(folder: EndpointFolder, name: str, runtime: str) -> None:
    desired = _desired(folder)
    if live_gateway(folder) is None:
        folder.save(desired.moved(name, runtime))
    else:
        ask(desired.socket, "PUT", f"/deployments/{name}/runtime", {"runtime": runtime})


def _desired(folder: EndpointFolder) -> DesiredEndpoint:
    desired = folder.load()
    if desired is None:
        raise ResourceNotFound(f"There is no endpoint {folder.name}.")
    return desired


def _serving(desired: DesiredEndpoint) -> Iterator[tuple[str, Deployment]]:
    """What serves or is to serve: neither failed for good nor being removed."""
    for name, deployment in desired.deployments.items():
        if deployment.state not in (DELETING, FAILED_STATE):
            yield name, deployment
