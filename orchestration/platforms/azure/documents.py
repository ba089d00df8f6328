"""Files of MLflow runs in the workspace's blob storage: `sluice/runs/<run>/<name>` in its default container.

The workspace's MLflow takes no artifacts from MLflow's plain client (docs/decisions/0005-…).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.storage import open_container
from orchestration.platforms.azure.workspace import Session

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

FOLDER: Final = "sluice/runs"
T = TypeVar("T")


class RunDocuments:
    """Implements `tracking.store.Documents`. May be used by several threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._opened: ContainerClient | None = None
        self._opening = threading.Lock()

    def read(self, run_id: str, name: str) -> bytes | None:
        """See `Documents.read`."""
        with translated(f"read {name} of the run {run_id}"):
            try:
                return self._do(lambda container: container.download_blob(_path(run_id, name)).readall())
            except ResourceNotFoundError as error:
                if _code(error) != "BlobNotFound":  # the container itself is gone
                    raise
                return None

    def names(self, run_id: str, folder: str) -> list[str]:
        """See `Documents.names`."""
        run, here = f"{_path(run_id, '')}", _path(run_id, "" if folder == "." else f"{folder}/")
        with translated(f"list {folder} of the run {run_id}"):
            found = self._do(lambda container: list(container.list_blob_names(name_starts_with=here)))
        return [name.removeprefix(run) for name in found if "/" not in name.removeprefix(here)]

    def write(self, run_id: str, contents: Mapping[str, bytes]) -> None:
        """See `Documents.write`."""
        for name, content in contents.items():
            with translated(f"write {name} of the run {run_id}"):
                self._do(partial(_upload, path=_path(run_id, name), content=content))

    def _do(self, act: Callable[[ContainerClient], T]) -> T:
        """Act on the container; with new access to it if the old one has expired."""
        container = self._container(None)
        try:
            return act(container)
        except HttpResponseError as error:
            if error.status_code != 403:
                raise
        return act(self._container(container))

    def _container(self, expired: ContainerClient | None) -> ContainerClient:
        with self._opening:
            if self._opened is None or self._opened is expired:
                self._opened = open_container(self._session)
            return self._opened


def _upload(container: ContainerClient, *, path: str, content: bytes) -> None:
    container.upload_blob(path, content, overwrite=True)


def _path(run_id: str, name: str) -> str:
    return f"{FOLDER}/{run_id}/{name}"


def _code(error: HttpResponseError) -> str:
    return str(getattr(error, "error_code", "") or "")
