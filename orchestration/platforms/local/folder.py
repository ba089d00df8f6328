"""The folder of one endpoint: `<state>/endpoints/<name>/`.

endpoint.json      the desired state; replaced in one step, on disk before anyone is told
traffic.jsonl      every traffic map that was ever live, append-only
key                what callers must present; mode 0600
gateway.json       pid and start time of the gateway
gateway.lock       held by the gateway while it lives
gateway.log        what it did
deployments/<d>/   each server's log
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestration.errors import PlatformError
from orchestration.platforms.local.desired import DesiredEndpoint, from_json, to_json
from orchestration.platforms.local.private_file import append_private
from orchestration.processes import private_folder, write_private


def endpoint_folders(state: Path) -> Iterator[EndpointFolder]:
    """Every endpoint below the state folder, by name."""
    for file in sorted(state.glob("endpoints/[!.]*/endpoint.json")):
        yield EndpointFolder(file.parent)


@dataclass(frozen=True, slots=True)
class EndpointFolder:
    """Paths and files of one endpoint."""

    path: Path

    @classmethod
    def of(cls, state: Path, endpoint: str) -> EndpointFolder:
        """The folder of that endpoint, there or not."""
        return cls(state.absolute() / "endpoints" / endpoint)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def log(self) -> Path:
        return self.path / "gateway.log"

    @property
    def printed(self) -> Path:
        """What the gateway printed: nothing, unless it could not start."""
        return self.path / "gateway.err"

    @property
    def lock(self) -> Path:
        return self.path / "gateway.lock"

    @property
    def history(self) -> Path:
        return self.path / "traffic.jsonl"

    def deployment(self, name: str) -> Path:
        """The private folder of one online deployment."""
        return self.path / "deployments" / name

    def server_log(self, name: str) -> Path:
        """What the server of one online deployment printed."""
        return self.deployment(name) / "server.log"

    def side_file(self, suffix: str) -> Path:
        """A file beside the endpoint's folder, for what must outlive it."""
        return private_folder(self.path.parent / ".locks") / f"{self.name}.{suffix}"

    def create(self, endpoint: DesiredEndpoint) -> None:
        """Make the folder with a new key; the desired state comes last, it makes the endpoint exist."""
        private_folder(self.path.parent)
        private_folder(self.path)
        write_private(self.path / "key", secrets.token_urlsafe(32))
        self.save(endpoint)

    def load(self) -> DesiredEndpoint | None:
        """The desired state; None if there is no such endpoint. Raises `PlatformError` if it can't be read."""
        file = self.path / "endpoint.json"
        try:
            return from_json(json.loads(file.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise PlatformError(f"{file}: the endpoint's state can't be read: {error}.") from error

    def save(self, endpoint: DesiredEndpoint) -> None:
        """Replace the desired state; it is on disk when this returns."""
        write_private(self.path / "endpoint.json", json.dumps(to_json(endpoint), indent=1, sort_keys=True))
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the replacement itself, not only the new text
        finally:
            os.close(descriptor)

    def key(self) -> str:
        """What a caller must present."""
        return (self.path / "key").read_text()

    def note_traffic(self, endpoint: DesiredEndpoint, states: Mapping[str, str], *, late: bool = False) -> None:
        """Append the live map, with the state of each online deployment when it was written.

        `late`: it was written by a gateway that died before it could note it.
        """
        entry = {
            "time": time.time(),
            "generation": endpoint.generation,
            "weights": dict(endpoint.weights),
            "states": dict(states),
        }
        line = json.dumps(entry | ({"late": True} if late else {})).encode() + b"\n"
        with append_private(self.history) as file:
            file.write(line if self._history_is_whole() else b"\n" + line)
            file.flush()
            os.fsync(file.fileno())

    def _history_is_whole(self) -> bool:
        with self.history.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
            return file.read(1) in (b"", b"\n")  # else a power loss cut the last line short

    def last_noted_generation(self) -> int:
        """The generation of the last traffic map in the history; 0, that of a new endpoint, if there is none."""
        try:
            lines = self.history.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return 0
        return next((g for line in reversed(lines) if (g := _generation(line)) is not None), 0)

    def remove(self) -> None:
        """Remove the endpoint: gone for readers at once, then from disk."""
        grave = self.path.with_name(f".{self.name}.{secrets.token_hex(4)}")
        try:
            self.path.rename(grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave, ignore_errors=True)


def _generation(line: str) -> int | None:
    try:
        return int(json.loads(line)["generation"])
    except (ValueError, TypeError, KeyError):
        return None  # a line cut short by a power loss
