"""TraceSessions: whether the workspace's store of traces is there, which clients ask before they submit."""

from __future__ import annotations

from ..wire import Response
from .calls import FLOW, Call, Operation


def operations() -> list[Operation]:
    """The one question."""
    return [Operation("GET", FLOW, "TraceSessions", "traceSessions", _get)]


async def _get(call: Call) -> Response:
    shown = {
        "entityId": call.workspace.rpartition("/")[2],
        "traceCosmosConfiguration": "None",
        "traceCosmosStatus": "Initialized",
        "resourceType": "HOBO",
    }
    return Response(200, shown)
