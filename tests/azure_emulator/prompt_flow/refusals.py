"""Errors as the data planes of Azure Machine Learning write them, which is not Resource Manager's way."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from ..wire import Refused, Response

_CODES = {401: "UserError", 429: "RequestThrottled", 503: "TransientError", 504: "TransientError"}


class Wording:
    """Words errors for one region."""

    def __init__(self, region: str) -> None:
        self._region = region

    def refused(self, no: Refused) -> Response:
        """A hook's no; its code becomes the inner one."""
        return Response(no.status, self.body(no.status, no.code, no.message))

    def reworded(self, said: Response) -> Response:
        """An error in Resource Manager's envelope, in this one."""
        error = said.body["error"]
        return Response(said.status, self.body(said.status, error["code"], error["message"]), said.headers)

    def body(self, status: int, code: str, message: str) -> dict[str, Any]:
        """The envelope: the inner code is the one that says what happened."""
        return {
            "error": {**root_error(status, code, message), "debugInfo": None, "additionalInfo": None},
            "correlation": {"operation": uuid.uuid4().hex, "request": uuid.uuid4().hex[:16]},
            "environment": self._region,
            "location": self._region,
            "time": datetime.now(UTC).isoformat(),
            "componentName": "PromptFlowService",
            "statusCode": status,
        }


def root_error(status: int, code: str, message: str) -> dict[str, Any]:
    """The error itself."""
    return {
        "code": _CODES.get(status, "UserError" if status < 500 else "ServiceError"),
        "severity": None,
        "message": message,
        "messageFormat": message,
        "messageParameters": {},
        "referenceCode": None,
        "detailsUri": None,
        "target": None,
        "details": [],
        "innerError": {"code": code, "innerError": None},
    }
