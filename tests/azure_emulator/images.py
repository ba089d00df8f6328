"""Images without a container engine: a build context becomes a folder, an interpreter and a command."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import containerfile, storage_paths
from .blob import BlobStorage
from .children import OUTSIDE
from .kinds import Resource
from .runtimes import ROOT, NotBuilt, Runtimes
from .wire import Refused

if TYPE_CHECKING:
    from .cloud import Cloud

RUNTIMES = ROOT / ".sluice" / "test-callable-runtimes"
LOCK = "lock.txt"
_PYTHONS = frozenset({"python", "python3"})


@dataclass(frozen=True, slots=True)
class Image:
    """What a container of it runs. `workdir` is a folder of this machine."""

    command: tuple[str, ...]
    workdir: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class Images:
    """The images of environment versions, built once each.

    A build context with a `lock.txt` gets a runtime with these requirements and the project's runner; the `python`
    of its command is that runtime's, and without a lock this process's. Images from registries are not pulled:
    `commands` says, by reference, what runs in their place (`{port}` in a word becomes the container's port).
    """

    def __init__(self, cloud: Cloud) -> None:
        self.commands: dict[str, Sequence[str]] = {}
        self._cloud = cloud
        self._folder = tempfile.TemporaryDirectory(prefix="images-")
        self._built: dict[str, Image] = {}
        self._runtimes = Runtimes(RUNTIMES)

    def stop(self) -> None:
        """End builds and remove their contexts; runtimes are kept for the next cloud."""
        self._runtimes.stop()
        self._folder.cleanup()

    async def of(self, environment: Resource) -> Image:
        """The image of an environment version. Raises `Refused` with what a failed deployment says."""
        if environment.id.key not in self._built:
            reference = environment.properties.get("image")
            image = self._pulled(reference) if reference else await self._build(environment)
            self._built[environment.id.key] = image
        return self._built[environment.id.key]

    def _pulled(self, reference: str) -> Image:
        command = self.commands.get(reference)
        if command is None:
            text = f"BadArgument: The image {reference} could not be pulled: the registry does not know it."
            raise Refused(400, "", text)
        return Image(tuple(command), Path(self._folder.name))

    async def _build(self, environment: Resource) -> Image:
        context = await self._context(environment)
        name = environment.properties["build"].get("dockerfilePath") or "Dockerfile"
        try:
            described = containerfile.read((context / name).read_text(encoding="utf-8"))
        except (OSError, containerfile.Unreadable) as reason:
            raise failed_build(f"{name}: {reason}") from None
        lock = context / LOCK
        python = await self._runtime(lock) if lock.exists() else Path(sys.executable)
        command = tuple(str(python) if word in _PYTHONS else word for word in described.command)
        path = f"{python.parent}{os.pathsep}{OUTSIDE.get('PATH', '')}"
        return Image(command, context, {"PATH": path, **_moved(described, context)})

    async def _context(self, environment: Resource) -> Path:
        uri = environment.properties["build"]["contextUri"]
        place = storage_paths.find(self._cloud, uri, environment.id)
        folder = Path(tempfile.mkdtemp(dir=self._folder.name))
        found = place and await self._cloud.of(BlobStorage).download(place.container, place.path, folder)
        if not place or not found:
            raise failed_build(f"the build context {uri} holds no files")
        return folder / Path(place.path).name

    async def _runtime(self, lock: Path) -> Path:
        try:
            return await self._runtimes.of(lock)
        except NotBuilt as said:
            raise failed_build(str(said)) from None


def _moved(described: containerfile.Described, context: Path) -> dict[str, str]:
    """The variables, with the build context where the image would have its copy: in the working directory."""
    if described.workdir == "/":
        return dict(described.environment)
    inside = re.compile(rf"(?<![^:=]){re.escape(described.workdir)}(?=[/:]|$)")
    return {name: inside.sub(lambda _: str(context), value) for name, value in described.environment.items()}


def failed_build(reason: str) -> Refused:
    """What a deployment says whose image could not be built."""
    return Refused(400, "", f"ImageBuildFailure: The image of the environment could not be built. {reason}")
