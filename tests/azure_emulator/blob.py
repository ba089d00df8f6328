"""Blob storage: one storage account with its production host name, held by Azurite."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .azurite import Azurite, unavailable

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

    from .cloud import Cloud

__all__ = ["BlobStorage", "install", "unavailable"]

SUFFIX = "blob.core.windows.net"
SAS_HOURS = 1


def install(cloud: Cloud) -> None:
    """Offer blob storage; the process starts when it is first needed."""
    storage = BlobStorage(cloud)
    cloud.add(storage)
    cloud.at_stop(storage.stop)


class BlobStorage:
    """The storage account of all workspaces of a cloud, each with a container of its own."""

    def __init__(self, cloud: Cloud) -> None:
        self.account = f"emulated{uuid.uuid4().hex[:12]}"
        self.key = base64.b64encode(os.urandom(64)).decode()
        self._cloud = cloud
        self._folder = tempfile.TemporaryDirectory(prefix="blobs-")
        self._azurite = Azurite(Path(self._folder.name))
        self._containers: set[str] = set()
        self._starting = asyncio.Lock()

    @property
    def host(self) -> str:
        """The account's host name."""
        return f"{self.account}.{SUFFIX}"

    async def ready(self, container: str) -> None:
        """Start it if it isn't, and make the container if there is none. Raises `azurite.Unavailable`."""
        async with self._starting:
            if not self._azurite.url:
                await self._azurite.start({self.account: self.key})
                self._cloud.forward(re.escape(self.host), self._azurite.url, kind="blob")
            if container not in self._containers:
                await asyncio.to_thread(self._create, container)
                self._containers.add(container)

    def stop(self) -> None:
        """End the process; the files go with it."""
        self._azurite.stop()
        self._folder.cleanup()

    def sas(self, container: str) -> str:
        """A token with which all may be done in a container, for an hour."""
        from azure.storage.blob import generate_container_sas

        return generate_container_sas(
            self.account,
            container,
            account_key=self.key,
            permission="racwdl",
            expiry=datetime.now(UTC) + timedelta(hours=SAS_HOURS),
        )

    async def download(self, container: str, path: str, folder: Path) -> list[str]:
        """Copy the file or folder at `path` into `folder`, under its last name; returns what was found."""
        await self.ready(container)
        return await asyncio.to_thread(self._download, container, path.strip("/"), folder)

    def _download(self, container: str, path: str, folder: Path) -> list[str]:
        with self._client(container) as client:
            found = [name for name in client.list_blob_names(name_starts_with=path) if _is_in(name, path)]
            for name in found:
                target = folder / PurePosixPath(name).relative_to(PurePosixPath(path).parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(client.download_blob(name).readall())
        return found

    async def upload(self, container: str, folder: Path, path: str) -> list[str]:
        """Copy all files of a folder to `path`; returns their names there."""
        await self.ready(container)
        return await asyncio.to_thread(self._upload, container, folder, path.strip("/"))

    def _upload(self, container: str, folder: Path, path: str) -> list[str]:
        files = sorted(each for each in folder.rglob("*") if each.is_file())
        names = [f"{path}/{each.relative_to(folder).as_posix()}" for each in files]
        with self._client(container) as client:
            for name, file in zip(names, files, strict=True):
                client.upload_blob(name, file.read_bytes(), overwrite=True)
        return names

    def _create(self, container: str) -> None:
        with self._client(container) as client:
            client.create_container()

    def _client(self, container: str) -> ContainerClient:
        from azure.storage.blob import ContainerClient

        return ContainerClient(
            f"{self._azurite.url}/{self.account}",
            container,
            credential={"account_name": self.account, "account_key": self.key},
            connection_verify=str(self._azurite.trusted),
        )


def _is_in(name: str, path: str) -> bool:
    return name == path or name.startswith(f"{path}/")
