"""Folders in the workspace's blob storage, named by the hash of what is in them: sent once, and all of it or none.

azure-ai-ml's own upload is not used: without a progress bar it waits for ever when one file can't be sent, and two
runs that send the same folder are in each other's way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.storage import Storage, open_storage
from orchestration.platforms.azure.workspace import Session
from orchestration.values import sha256

FOLDER: Final = "sluice/uploads"
COMPLETE: Final = "complete"  # the blob beside the folder that is written last
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Where a folder lies: `uri` as Azure Machine Learning names it, `url` as the storage does, with a slash last."""

    uri: str
    url: str


def upload(session: Session, folder: Path) -> Uploaded:
    """Send the folder, unless it lies there already. Its name stays the last part of its place.

    Raises a `PlatformError` if a file can't be sent; what was sent by then is sent again next time.
    """
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    with translated(f"send {folder.name} to the workspace's storage"):
        storage = open_storage(session)
        above = f"{FOLDER}/{_hash(files)}"
        complete = storage.container.get_blob_client(f"{above}/{COMPLETE}")
        if not complete.exists():
            _send(storage, f"{above}/{folder.name}", files)
            complete.upload_blob(b"", overwrite=True)
    place = f"{above}/{folder.name}"
    return Uploaded(f"azureml://datastores/{storage.datastore}/paths/{place}", f"{storage.url}/{place}/")


def _send(storage: Storage, place: str, files: Mapping[str, Path]) -> None:
    """Send all files, some at once. Whoever sends the same at the same time sends the same bytes."""

    def send(name: str) -> None:
        with files[name].open("rb") as file:
            storage.container.upload_blob(f"{place}/{name}", file, overwrite=True)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upload") as pool:
        list(pool.map(send, files))


def _hash(files: Mapping[str, Path]) -> str:
    return sha256({name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()})
