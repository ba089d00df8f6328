"""What comes before a version is there: a place for its files, and whether its code is known already."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from ..blob import BlobStorage
from ..kinds import Resource
from ..wire import Request, Response
from . import types

if TYPE_CHECKING:
    from ..cloud import Cloud

_WORKSPACE = r"^(?P<workspace>.*/workspaces/[^/]+)"
_UPLOAD = re.compile(rf"{_WORKSPACE}/(?:codes|models)/[^/]+/versions/[^/]+/startPendingUpload$", re.IGNORECASE)
_CODES = re.compile(rf"{_WORKSPACE}/codes/[^/]+/versions$", re.IGNORECASE)


class Uploads:
    """Places for the files of versions that are not there yet."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def handle(self, request: Request) -> Response | None:
        """A new container, and a token to write there; None for any other request."""
        found = _UPLOAD.match(request.path) if request.method == "POST" else None
        workspace = self._cloud.arm.peek(found["workspace"]) if found else None
        if workspace is None:
            return None
        storage, container = self._cloud.of(BlobStorage), str(uuid.uuid4())
        await storage.ready(container)
        place = f"https://{storage.host}/{container}"
        reference = {
            "blobUri": place,
            "storageAccountArmId": workspace.properties["storageAccount"],
            "credential": {"credentialType": "SAS", "sasUri": f"{place}?{storage.sas(container)}"},
        }
        kind = (request.json() or {}).get("pendingUploadType", "TemporaryBlobReference")
        body = {"pendingUploadId": container, "pendingUploadType": kind, "blobReferenceForConsumption": reference}
        return Response(200, body)


class CodeSearch:
    """Code by the hash of its content, whatever its name: clients ask so before they upload it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def handle(self, request: Request) -> Response | None:
        """The versions with that content; None for any other request."""
        found = _CODES.match(request.path) if request.method == "GET" and "hash" in request.query else None
        if found is None or self._cloud.arm.peek(found["workspace"]) is None:
            return None
        versions = self._cloud.arm.below(found["workspace"], f"{types.WORKSPACE}/codes/versions")
        known = [each for each in versions if _hash(each) == request.query["hash"]]
        return Response(200, {"value": [self._cloud.arm.shown(each) for each in known]})


def _hash(version: Resource) -> str | None:
    found: str | None = (version.properties.get("properties") or {}).get("hash_sha256")
    return found
