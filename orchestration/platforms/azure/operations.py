"""Why a resource failed: what its last operation said, for only that has the reason."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from orchestration.errors import SluiceError
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.faults import explained, said_by
from orchestration.platforms.azure.workspace import ARM, Session

OPERATION = "AzureAsyncOperationUri"  # the property of a resource that names its last operation
NOT_SAID = "Azure gives no reason; the activity log of the resource may."
_log = logging.getLogger(__name__)


def failure(session: Session, entity: Any) -> str:
    """Why an endpoint or an online deployment failed, and what to do, in one line."""
    url = (entity.properties or {}).get(OPERATION, "")
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" != ARM:  # a token is sent along: nowhere else
        return NOT_SAID
    query = dict(parse_qsl(parts.query))
    try:
        with translated(f"read why {entity.name} failed"):
            status = session.arm("GET", parts.path, api_version=query.pop("api-version", "2024-04-01"), **query)
    except SluiceError as error:  # the failure itself is what has to be told
        _log.info("%s", error)
        return NOT_SAID
    return explained(said_by(status)) if (status or {}).get("error") else NOT_SAID
