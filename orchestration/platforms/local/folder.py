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

from orchestration.errors import ResourceDamaged
from orchestration.platforms.local.desired import DesiredEndpoint, from_json, to_json
from orchestration.platforms.local.private_file import append_private
from orchestration.processes import private_folder, write_private

KEY_BYTES = 32
# What the rest relies on; a file that was edited by hand may hold anything.
_TYPES = {
    "host": str, "port": int, "socket": str, "state": str, "generation": int,
    "tags": dict, "weights": dict, "previous": dict,
}  # fmt: skip


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
    def state_file(self) -> Path:
        """The desired state: while it is there, the endpoint exists."""
        return self.path / "endpoint.json"

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
        for left in self.path.parent.glob(f".{self.name}.*"):  # a removal that was killed
            shutil.rmtree(left, ignore_errors=True)
        private_folder(self.path)
        write_private(self.path / "key", secrets.token_urlsafe(KEY_BYTES))
        self.save(endpoint)

    def load(self) -> DesiredEndpoint | None:
        """The desired state; None if there is no such endpoint. Raises `ResourceDamaged` if it can't be read."""
        try:
            return self._checked(from_json(json.loads(self.state_file.read_text(encoding="utf-8"))))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise self._damaged(self.state_file, error) from error

    def _checked(self, endpoint: DesiredEndpoint) -> DesiredEndpoint:
        if endpoint.name != self.name:
            raise ValueError(f"it is that of the endpoint {endpoint.name!r}")
        for name, kind in _TYPES.items():
            if not isinstance(getattr(endpoint, name), kind):
                raise TypeError(f"{name} is no {kind.__name__}")
        return endpoint

    def _damaged(self, file: Path, error: Exception) -> ResourceDamaged:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return ResourceDamaged(
            f"The endpoint {self.name} is damaged: {file} can't be read ({why}).",
            cure=f"Next: sluice endpoint delete {self.name} --yes, then sluice run.",
        )

    def save(self, endpoint: DesiredEndpoint) -> None:
        """Replace the desired state; it is on disk when this returns."""
        write_private(self.state_file, json.dumps(to_json(endpoint), indent=1, sort_keys=True))
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # the replacement itself, not only the new text
        finally:
            os.close(descriptor)

    def key(self) -> str:
        """What a caller must present. Raises `ResourceDamaged` if it is gone or cut short."""
        file = self.path / "key"
        try:
            key = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._damaged(file, error) from error
        if len(key) < KEY_BYTES:  # an empty one would let everybody in
            raise self._damaged(file, ValueError("it is too short"))
        return key

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
