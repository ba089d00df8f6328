"""What `getLogs` tells of a deployment: how far it got, what happened, what its containers printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .operations import timestamp

STORAGE = "StorageInitializer"
WAITING, RUNNING, DONE, FAILED = "Waiting", "InProgress", "Succeeded", "Failed"
STEPS = ("SystemSetup", "UserContainerImagePull", "ModelDownload", "UserContainerStart")


class ContainerLogs:
    """The logs of one attempt to start a deployment."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._steps = dict.fromkeys(STEPS, WAITING)
        self._events: list[str] = []
        self._storage: list[str] = []
        self._log: Path | None = None

    def pulling(self) -> None:
        """The image is looked for."""
        self._steps.update(SystemSetup=DONE, UserContainerImagePull=RUNNING)
        self._event("Pulling", "Start pulling container image")

    def downloading(self) -> None:
        """The image is there, the model not yet."""
        self._steps.update(UserContainerImagePull=DONE, ModelDownload=RUNNING)
        self._event("Pulled", "Container image is pulled successfully")
        self._event("Downloading", "Start downloading models")

    def note(self, line: str) -> None:
        """A line of the storage initializer."""
        self._storage.append(line)

    def downloaded(self) -> None:
        """The model is there."""
        self._steps.update(ModelDownload=DONE, UserContainerStart=RUNNING)
        self._event("Downloaded", "Models are downloaded successfully")

    def started(self, log: Path) -> None:
        """The process runs, and prints to that file."""
        self._log = log
        self._event("Created", "Created container inference-server")
        self._event("Started", "Started container inference-server")

    def ready(self) -> None:
        """The probes are answered."""
        self._steps.update(UserContainerStart=DONE)
        self._event("ContainerReady", "Container is ready")

    def failed(self) -> None:
        """It never got that far."""
        self._steps.update(UserContainerStart=FAILED)
        self._event("BackOff", "Back-off restarting failed container", kind="Warning")

    def text(self, which: str, lines: int) -> str:
        """The log of that container with its last lines, below the state of the whole."""
        printed = self._storage if which == STORAGE else self._printed()
        state = [f"{step}: {status}" for step, status in self._steps.items()]
        parts = ["Instance status:", *state, "", "Container events:", *self._events, "", "Container logs:"]
        return "\n".join([*parts, *printed[-lines:]])

    def _printed(self) -> list[str]:
        return self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log else []

    def _event(self, name: str, message: str, *, kind: str = "Normal") -> None:
        moment = timestamp(self._now())
        self._events.append(f"Kind: Pod, Name: {name}, Type: {kind}, Time: {moment}, Message: {message}")
