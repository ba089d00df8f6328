"""Blob storage of the emulated cloud: Azurite from npm, under the names of the real service."""

from __future__ import annotations

from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure_clients import sign_in
from azure_emulator import Cloud, azurite
from azure_emulator.blob import BlobStorage, unavailable

BOX = "box"


@pytest.fixture
def storage(cloud: Cloud) -> BlobStorage:
    """Storage with a container."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    found = cloud.of(BlobStorage)
    cloud.call(found.ready(BOX))
    return found


def test_without_npm_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(azurite.OUTSIDE, "PATH", "/nonexistent")
    assert unavailable() == "blob storage needs node and npm, which are not installed"


def test_an_installation_that_fails_says_why_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in (("npm", "echo no network >&2; exit 1"), ("node", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setitem(azurite.OUTSIDE, "PATH", str(tmp_path))
    monkeypatch.setattr(azurite, "FOLDER", tmp_path / "installed")
    assert unavailable() == "npm ci failed: no network"
    (tmp_path / "npm").write_text("#!/bin/sh\nexit 0\n")
    assert unavailable() is None


@pytest.mark.real
def test_keys_tokens_and_entra_all_open_the_account(cloud: Cloud, storage: BlobStorage) -> None:
    address = f"https://{storage.host}"
    for number, credential in enumerate((storage.key, storage.sas(BOX), sign_in(cloud))):
        with ContainerClient(address, BOX, credential=credential) as container:
            container.upload_blob(f"{number}/a + b.txt", b"x" * number)
            assert container.download_blob(f"{number}/a + b.txt").readall() == b"x" * number
    with BlobServiceClient(address, credential=storage.key) as account:
        assert [each.name for each in account.list_containers()] == [BOX]
    with (
        ContainerClient(address, BOX, credential=f"{storage.sas(BOX)}0") as stranger,
        pytest.raises(HttpResponseError) as refused,
    ):
        stranger.upload_blob("c", b"")
    assert refused.value.status_code == 403


@pytest.mark.real
def test_a_folder_or_a_file_is_downloaded_and_its_neighbours_are_not(
    cloud: Cloud, storage: BlobStorage, tmp_path: Path
) -> None:
    with ContainerClient(f"https://{storage.host}", BOX, credential=storage.key) as container:
        for name in ("up/flow/a.txt", "up/flow/deep/b.txt", "up/flow2/c.txt", "up/flow.txt"):
            container.upload_blob(name, name.encode())
    found = cloud.call(storage.download(BOX, "up/flow/", tmp_path / "folder"))
    assert found == ["up/flow/a.txt", "up/flow/deep/b.txt"]
    assert (tmp_path / "folder" / "flow" / "deep" / "b.txt").read_text() == "up/flow/deep/b.txt"
    assert cloud.call(storage.download(BOX, "up/flow.txt", tmp_path / "file")) == ["up/flow.txt"]
    assert [path.name for path in (tmp_path / "file").iterdir()] == ["flow.txt"]
    assert cloud.call(storage.download(BOX, "up/fl", tmp_path / "none")) == []
