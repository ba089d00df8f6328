"""Reading and writing a run's artifacts. What lies on this machine is read as files, without MLflow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from orchestration.errors import PlatformError
from orchestration.tracking.store import Store, connected

RUN_ID = re.compile(r"[A-Za-z0-9_-]+")


def artifact_path(store: Store, run_id: str, name: str) -> Path:
    """Where a local store keeps an artifact, whether or not it exists. Raises `PlatformError` for a remote store."""
    if store.folder is None:
        raise PlatformError(f"The artifacts of {store.tracking_uri} are not on this machine.")
    return store.folder / _checked(run_id) / "artifacts" / name


def read_artifact(store: Store, run_id: str, name: str) -> bytes | None:
    """The artifact's bytes; None if there is none."""
    if store.folder is not None:
        path = artifact_path(store, run_id, name)
        return path.read_bytes() if path.is_file() else None
    if store.documents is not None:
        return store.documents.read(_checked(run_id), name)
    if name not in list_artifacts(store, run_id, str(PurePosixPath(name).parent)):
        return None
    with connected(store, f"read {name}") as client, TemporaryDirectory() as folder:
        return Path(client.download_artifacts(_checked(run_id), name, folder)).read_bytes()


def list_artifacts(store: Store, run_id: str, folder: str) -> list[str]:
    """Names of the artifacts in the folder (`.` is the run's own), sorted; unfinished ones are left out."""
    if store.folder is not None:
        here = artifact_path(store, run_id, folder)
        found = [p.name for p in here.iterdir() if p.is_file()] if here.is_dir() else []
        names = [str(PurePosixPath(folder, name)) for name in found]
    elif store.documents is not None:
        names = store.documents.names(_checked(run_id), folder)
    else:
        with connected(store, f"list {folder}") as client:
            below = None if folder == "." else folder
            names = [a.path for a in client.list_artifacts(_checked(run_id), below) if not a.is_dir]
    return sorted(name for name in names if not PurePosixPath(name).name.startswith("."))


def write_artifacts(store: Store, client: Any, run_id: str, contents: Mapping[str, bytes]) -> None:
    """Store each content under its name in the run's own folder."""
    if store.documents is not None:
        store.documents.write(_checked(run_id), contents)
        return
    with TemporaryDirectory() as folder:
        for name, content in contents.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            parent = str(PurePosixPath(name).parent)
            # One by one: MLflow writes a single local file aside and moves it into place, a folder it does not.
            client.log_artifact(run_id, str(path), None if parent == "." else parent)


def _checked(run_id: str) -> str:
    if not RUN_ID.fullmatch(run_id):
        raise PlatformError(f"{run_id!r} is not the id of a run.")
    return run_id
