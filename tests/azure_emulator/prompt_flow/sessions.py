"""Compute sessions: what a run runs on when it names no runtime, started by the clock and used again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..directory import Principal
from ..kinds import Resource
from ..operations import SUCCEEDED, timestamp
from ..wire import Refused, Response
from .calls import FLOW, Call, Operation, closed
from .flow_runtimes import FlowRuntimes

if TYPE_CHECKING:
    from ..cloud import Cloud

AUTOMATIC = "automatic"
IDLE_SECONDS = 3600.0
NEW = {
    "pythonPipRequirements",
    "baseImage",
    "runtimeImage",
    "action",
    "vmSize",
    "maxIdleTimeSeconds",
    "identity",
    "computeName",
    "enableMultiContainer",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a run runs: from when on, as which identity, on which compute instance (empty: serverless)."""

    ready: float
    identity: Principal
    compute: str = ""


@dataclass(slots=True)
class Session:
    """One session. `used` is when something last ran in it, or will."""

    id: str
    settings: Mapping[str, Any]
    ready: float
    used: float

    def lasts(self, now: float) -> bool:
        """Whether it has not been idle for too long."""
        return now <= self.used + float(self.settings.get("maxIdleTimeSeconds") or IDLE_SECONDS)


class Sessions:
    """The sessions of all workspaces. The image of one is always the same: a flow's own requirements are not heard."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._sessions: dict[tuple[str, str], Session] = {}
        self._operations: dict[str, float] = {}

    def operations(self) -> list[Operation]:
        """What the service does for sessions."""
        one, kind = "FlowSessions/{name}", "flowSessions"
        polled = f"{one}/creation/locations/{self._cloud.region}/operations/setup"
        return [
            Operation("GET", FLOW, one, kind, self._get),
            Operation("POST", FLOW, one, kind, self._create),
            Operation("DELETE", FLOW, one, kind, self._delete),
            Operation("GET", FLOW, polled, f"{kind}/operation", self._poll),
        ]

    async def machine(self, call: Call, order: Mapping[str, Any]) -> Machine:
        """What a submitted run will run on. Raises `Refused` if there is no such thing."""
        runtime, now = order.get("runtimeName") or AUTOMATIC, self._cloud.clock.now()
        if runtime != AUTOMATIC:
            instance = await self._cloud.of(FlowRuntimes).compute_of(call.workspace, runtime)
            return Machine(now, self._identity(call, _identities(instance)), instance.id.name)
        name = str(order.get("computeName") or "")
        compute = await self._compute(call, name) if name else None
        identity = self._identity(call, _identities(compute) if compute else [order.get("identity")])
        key = call.workspace.lower(), str(order.get("sessionId") or uuid.uuid4())
        return Machine(self._started(key, order).ready, identity, name)

    def _started(self, key: tuple[str, str], settings: Mapping[str, Any]) -> Session:
        """The session of that key, started if it is not there."""
        now, found = self._cloud.clock.now(), self._sessions.get(key)
        if found is None or not found.lasts(now):
            ready = now + self._cloud.scenario.duration("POST", "flowSessions")
            found = self._sessions[key] = Session(key[1], settings, ready, ready)
        found.used = max(found.used, now)
        return found

    async def _compute(self, call: Call, name: str) -> Resource:
        found = await self._cloud.arm.find(f"{call.workspace}/computes/{name}")
        if found is None:
            raise Refused(404, "ComputeInstanceNotFound", f"The compute instance {name} was not found.")
        if found.state != SUCCEEDED:
            raise Refused(400, "ComputeInstanceNotRunning", f"The compute instance {name} is {found.state}.")
        return found

    def _identity(self, call: Call, assigned: list[Any]) -> Principal:
        """The first identity of these ARM ids; who submits, if none is given."""
        token = self._cloud.directory.token_of(call.request.headers)
        assert token is not None, "the cloud lets nobody in without one"
        if not assigned or not assigned[0]:
            return token.principal
        resource = self._cloud.arm.peek(assigned[0])
        known = self._cloud.directory.principals.get(resource.properties["principalId"]) if resource else None
        return known or Principal(assigned[0], str(uuid.uuid4()), 0.0)  # it is gone: nobody knows it

    async def _get(self, call: Call) -> Response:
        session = self._find(call)
        scope = call.workspace.split("/")
        properties: dict[str, Any] = {
            "sessionId": session.id,
            "subscriptionId": scope[2],
            "resourceGroupName": scope[4],
            "workspaceName": scope[-1],
            "existingUserComputeInstanceName": session.settings.get("computeName"),
            "vmSize": session.settings.get("vmSize"),
            "maxIdleTimeSeconds": int(session.settings.get("maxIdleTimeSeconds") or IDLE_SECONDS),
            "applications": [],
            "lastAliveTime": timestamp(session.used),
        }
        return Response(200, {"properties": properties})

    async def _create(self, call: Call) -> Response:
        body = call.body()
        closed(body, NEW)
        if body.get("computeName"):
            await self._compute(call, body["computeName"])
        self._started(call.key, body)
        polled = f"{call.name}/creation/locations/{self._cloud.region}/operations/setup"
        address = f"https://{call.request.host}/{FLOW}{call.workspace}/FlowSessions/{polled}"
        return Response(202, {}, {"Azure-AsyncOperation": address})

    async def _poll(self, call: Call) -> Response:
        ready = self._find(call).ready <= self._cloud.clock.now()
        return Response(200, {"status": "Succeeded" if ready else "InProgress"})

    async def _delete(self, call: Call) -> Response:
        self._find(call)
        del self._sessions[call.key]
        return Response(200, {})

    def _find(self, call: Call) -> Session:
        found = self._sessions.get(call.key)
        if found is None or not found.lasts(self._cloud.clock.now()):
            raise Refused(404, "SessionNotFound", f"The compute session {call.name} was not found.")
        return found


def _identities(compute: Resource) -> list[Any]:
    return list((compute.body.get("identity") or {}).get("userAssignedIdentities") or ())
