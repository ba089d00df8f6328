"""The containers of online deployments: the model downloaded, the image's command run as a process, its log kept."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import entra, storage_paths
from .arm_ids import ArmId
from .blob import BlobStorage
from .children import OUTSIDE, Child
from .container_logs import ContainerLogs
from .directory import Principal
from .images import Image, Images
from .kinds import Resource
from .relay import Relay
from .wire import Refused

if TYPE_CHECKING:
    from .cloud import Cloud

APP = "/var/azureml-app"
# Where no inference configuration says otherwise: those of Azure ML's own inference server.
ROUTES = {"livenessRoute": "/", "readinessRoute": "/", "scoringRoute": "/score"}
PROBE_SECONDS = 0.05
# The container's own network is this machine's, so each gets a port of its own; and the time that its roles need to
# be known is the emulator's, which does not pass while it waits.
OURS = {"SLUICE_ACCESS_SECONDS": "4"}
CRASHED = (
    "ResourceNotReady: User container has crashed or terminated. Please see troubleshooting guide, available here: "
    "https://aka.ms/oe-tsg#error-resourcenotready"
)


@dataclass(frozen=True, slots=True)
class Order:
    """One container as it is wanted. `settings` are the deployment's properties."""

    deployment: ArmId
    principal: Principal
    model: Resource
    environment: Resource
    settings: Mapping[str, Any]


class Container:
    """A process that answers at `url`, under the paths in `routes`."""

    def __init__(self, child: Child, url: str, routes: Mapping[str, str]) -> None:
        self._child = child
        self.url, self.routes = url, routes
        self.pending = 0  # requests that it has not answered

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._child.code() is None

    def end(self) -> None:
        """End the process and all that it started."""
        self._child.end()


def install(cloud: Cloud) -> None:
    """Offer containers; all end with the cloud."""
    containers = Containers(cloud)
    cloud.add(containers)
    cloud.at_stop(containers.stop)


class Containers:
    """Starts containers. `start_seconds` of real time is how long one may take to get healthy."""

    def __init__(self, cloud: Cloud) -> None:
        self.images = Images(cloud)
        self.start_seconds = 60.0
        self._cloud = cloud
        self._folder = tempfile.TemporaryDirectory(prefix="containers-", ignore_cleanup_errors=True)
        self._containers: list[Container] = []

    def stop(self) -> None:
        """End all of them."""
        for container in self._containers:
            container.end()
        self.images.stop()
        self._folder.cleanup()

    async def start(self, order: Order, logs: ContainerLogs) -> Container:
        """A container that is healthy. Raises `Refused` with what the failed deployment says; `logs` tell the rest."""
        root = Path(tempfile.mkdtemp(dir=self._folder.name, prefix=f"{order.deployment.name}-"))
        image = await self._image(order, logs)
        model = await self._model(order, root, logs)
        port = free_port()
        environment = self._environment(order, image, root, model) | {"SLUICE_PORT": str(port)}
        command = [word.replace("{port}", str(port)) for word in image.command]
        log = root / "container.log"
        child = Child(command, log=log, environment=environment, cwd=image.workdir)
        logs.started(log)
        container = Container(child, f"http://127.0.0.1:{port}", routes_of(order.environment))
        self._containers.append(container)
        try:
            await self._healthy(container)
        except BaseException:
            logs.failed()
            container.end()
            raise
        logs.ready()
        return container

    async def _image(self, order: Order, logs: ContainerLogs) -> Image:
        logs.pulling()
        return await self.images.of(order.environment)

    async def _model(self, order: Order, root: Path, logs: ContainerLogs) -> Path:
        """Lay the model out as Azure does, below `root`; returns the folder of AZUREML_MODEL_DIR."""
        logs.downloading()
        id_, uri = order.model.id, order.model.properties["modelUri"]
        mount = str(order.settings.get("modelMountPath") or APP).strip("/")
        folder = root / mount / "azureml-models" / id_.segments[-3] / id_.segments[-1]
        folder.mkdir(parents=True)
        place = storage_paths.find(self._cloud, uri, id_)
        found = await self._cloud.of(BlobStorage).download(place.container, place.path, folder) if place else []
        for name in found:
            logs.note(f"Downloaded {name}")
        if not found:
            logs.note(f"There is nothing at {uri}")
            raise Refused(400, "", f"BadArgument: The model {id_.path} could not be downloaded: nothing is at {uri}.")
        logs.downloaded()
        return folder

    def _environment(self, order: Order, image: Image, root: Path, model: Path) -> dict[str, str]:
        home = root / "home"
        home.mkdir()
        platform = {
            **self._cloud.environment(),
            **entra.msi_environment(self._cloud, order.principal),
            "HOME": str(home),
            "AZUREML_MODEL_DIR": str(model),
            "AML_APP_ROOT": str(root / APP.strip("/")),
            "AML_DEPLOYMENT_RESOURCE_ID": order.deployment.path,
        }
        given: Mapping[str, Any] = order.settings["environmentVariables"]
        asked = {name: str(value).replace(APP, str(root / APP.strip("/"))) for name, value in given.items()}
        base = {"PATH": OUTSIDE.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        return {**base, **OURS, **image.environment, **asked, **platform}

    async def _healthy(self, container: Container) -> None:
        """Wait for both probes. Raises `Refused` if the process ends, or is not healthy in time."""
        loop = asyncio.get_running_loop()
        deadline, status = loop.time() + self.start_seconds, 0
        paths = (container.routes["livenessRoute"], container.routes["readinessRoute"])
        while loop.time() < deadline:
            if not container.runs:
                raise Refused(400, "", CRASHED)
            statuses = [await self._cloud.of(Relay).status(f"{container.url}{path}", seconds=2) for path in paths]
            if all(200 <= each < 400 for each in statuses):
                return
            status = max(statuses)
            await asyncio.sleep(PROBE_SECONDS)
        probe = f"Liveness probe failed: HTTP probe failed with statuscode: {status or 502}."
        raise Refused(400, "", f"ResourceNotReady: User container has crashed or terminated: {probe}")


def routes_of(environment: Resource) -> dict[str, str]:
    """The paths of liveness, readiness and scoring inside the container."""
    configured = environment.properties.get("inferenceConfig") or {}
    return {name: (configured.get(name) or {}).get("path") or usual for name, usual in ROUTES.items()}


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
