"""FlowRuntimes: the named runtimes of prompt flow's service, with their states by the clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..computes import COMPUTE_TYPE
from ..faults import OperationFails, OperationNeverEnds, StaleRead
from ..kinds import Resource
from ..operations import SUCCEEDED, timestamp
from ..wire import Refused, Response
from .calls import FLOW, Call, Operation, closed
from .refusals import root_error

if TYPE_CHECKING:
    from ..cloud import Cloud

UNAVAILABLE, FAILED, NOT_EXIST = "Unavailable", "Failed", "NotExist"
STARTING, STOPPING = "Starting", "Stopping"
TYPES = ("ManagedOnlineEndpoint", "ComputeInstance", "TrainingSession", "Local")
NEW = {
    "runtimeType",
    "identity",
    "instanceType",
    "fromExistingEndpoint",
    "fromExistingDeployment",
    "endpointName",
    "deploymentName",
    "computeInstanceName",
    "fromExistingCustomApp",
    "customAppName",
    "runtimeDescription",
    "environment",
    "instanceCount",
}
CHANGED = {"runtimeDescription", "environment", "instanceCount"}


@dataclass(frozen=True, slots=True)
class State:
    """A status, why, and how many seconds of the clock it lasts. No status is what a ready runtime has."""

    status: str = ""
    seconds: float = math.inf
    message: str = ""


READY = State()


@dataclass(slots=True)
class Runtime:
    """One runtime. Its states follow one another from `began` on; `gone` is when it is no more."""

    name: str
    workspace: str
    body: dict[str, Any]
    states: Sequence[State]
    began: float
    created: float
    owner: Mapping[str, str] = field(default_factory=dict)
    gone: float = math.inf

    def state(self, now: float) -> State:
        """The state at a moment."""
        end = self.began
        for state in self.states:
            end += state.seconds
            if now < end:
                return state
        return self.states[-1]


class FlowRuntimes:
    """The runtimes of all workspaces.

    `plays` scripts what becomes of the next one of a name; else it starts for as long as the scenario says and is
    ready. A fault `OperationFails` of `POST flowRuntimes` makes it fail, `OperationNeverEnds` keeps it starting.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._scripts: dict[str, tuple[State, ...]] = {}
        self._runtimes: dict[tuple[str, str], Runtime] = {}
        self._before: dict[tuple[str, str], dict[str, Any] | None] = {}

    def plays(self, name: str, *states: State) -> None:
        """The states that the runtime of this name goes through, from its creation on; one that is there, from now."""
        self._scripts[name.lower()] = states
        for each in self._runtimes.values():
            if each.name.lower() == name.lower():
                each.states, each.began = states, self._cloud.clock.now()

    def seed(self, workspace: str, name: str, compute: str) -> None:
        """A runtime of the workspace's owner on a compute instance; it was always there."""
        body = {"runtimeType": "ComputeInstance", "computeInstanceName": compute}
        self._runtimes[workspace.lower(), name.lower()] = Runtime(name, workspace, body, [READY], -math.inf, 0.0)

    def names(self, workspace: str) -> list[str]:
        """The runtimes that there are."""
        return [each.name for each in self._below(workspace)]

    def operations(self) -> list[Operation]:
        """What the service does for runtimes."""
        one, all_, kind = "FlowRuntimes/{name}", "FlowRuntimes", "flowRuntimes"
        return [
            Operation("GET", FLOW, all_, f"{kind}/list", self._list),
            Operation("GET", FLOW, one, kind, self._get),
            Operation("POST", FLOW, one, kind, self._create),
            Operation("PUT", FLOW, one, kind, self._update),
            Operation("DELETE", FLOW, one, kind, self._delete),
        ]

    async def compute_of(self, workspace: str, name: str) -> Resource:
        """The compute instance of a ready runtime. Raises `Refused` if it is not there, or not ready."""
        runtime = self._find((workspace.lower(), name.lower()))
        if runtime is None:
            raise _absent(name)
        shown = await self._shown(runtime)
        if "status" in shown:
            said = shown.get("statusMessage") or shown["status"]
            raise Refused(400, "RuntimeNotReady", f"The runtime {name} is not ready: {said}.")
        compute = await self._compute(runtime)
        assert compute is not None
        return compute

    async def _list(self, call: Call) -> Response:
        return Response(200, [await self._shown(each) for each in self._below(call.workspace)])

    async def _get(self, call: Call) -> Response:
        runtime = self._find(call.key)
        shown = await self._shown(runtime) if runtime else None
        if isinstance(call.request.fault, StaleRead):
            shown = self._before.get(call.key, shown)
        if shown is None:
            raise _absent(call.name)
        return Response(200, shown)

    async def _create(self, call: Call) -> Response:
        body = call.body()
        closed(body, NEW)
        await self._check_new(call, body)
        fault, now = call.request.fault, self._cloud.clock.now()
        takes = self._cloud.scenario.duration("POST", "flowRuntimes")
        states: Sequence[State] = self._scripts.get(call.name.lower()) or (State(STARTING, takes), READY)
        if isinstance(fault, OperationFails):
            states = (State(STARTING, takes), State(FAILED, message=fault.message))
        if isinstance(fault, OperationNeverEnds):
            states = (State(STARTING),)
        self._runtimes[call.key] = runtime = Runtime(call.name, call.workspace, body, states, now, now)
        runtime.owner = self._owner(call)
        self._before[call.key] = None
        if call.request.query.get("asyncCall", "").lower() != "true":
            await self._cloud.pass_time(takes)
        return Response(200, await self._shown(runtime))

    async def _check_new(self, call: Call, body: Mapping[str, Any]) -> None:
        if self._find(call.key):
            raise Refused(409, "RuntimeAlreadyExists", f"A runtime of the name {call.name} exists already.")
        if body.get("runtimeType") not in TYPES:
            raise Refused(400, "BadArgument", f"The runtimeType {body.get('runtimeType')!r} is not one of {TYPES}.")
        if body["runtimeType"] != "ComputeInstance":
            raise Refused(400, "BadArgument", f"Runtimes of type {body['runtimeType']} are not emulated.")
        instance = str(body.get("computeInstanceName") or "")
        compute = await self._cloud.arm.find(f"{call.workspace}/computes/{instance}") if instance else None
        if compute is None:
            raise Refused(404, "ComputeInstanceNotFound", f"The compute instance {instance!r} was not found.")
        if compute.state != SUCCEEDED:
            text = f"The compute instance {instance} is not running: it is {compute.state}."
            raise Refused(400, "ComputeInstanceNotRunning", text)

    async def _update(self, call: Call) -> Response:
        runtime, body = self._find(call.key), call.body()
        closed(body, CHANGED)
        if runtime is None:
            raise _absent(call.name)
        runtime.body |= body
        return Response(200, await self._shown(runtime))

    async def _delete(self, call: Call) -> Response:
        runtime = self._find(call.key)
        if runtime is None:
            raise _absent(call.name)
        now = self._cloud.clock.now()
        if runtime.gone == math.inf:
            self._before[call.key] = await self._shown(runtime)
            runtime.states, runtime.began = (State(STOPPING),), now
            runtime.gone = now + self._cloud.scenario.duration("DELETE", "flowRuntimes")
            if isinstance(call.request.fault, OperationNeverEnds):
                runtime.gone = math.inf
        return Response(200, await self._shown(runtime))

    async def _shown(self, runtime: Runtime) -> dict[str, Any]:
        state = runtime.state(self._cloud.clock.now())
        if not state.status and await self._compute(runtime) is None:
            text = f"The compute instance {runtime.body['computeInstanceName']} is not there"
            state = State(UNAVAILABLE, message=text)
        shown = {**runtime.body, "runtimeName": runtime.name, "owner": runtime.owner}
        shown["createdOn"] = shown["modifiedOn"] = timestamp(runtime.created)
        if state.status:
            shown |= {"status": state.status, "statusMessage": state.message or None}
        if state.status == FAILED:
            shown["error"] = {"error": root_error(400, "RuntimeCreationFailed", state.message)}
        return shown

    async def _compute(self, runtime: Runtime) -> Resource | None:
        found = await self._cloud.arm.find(f"{runtime.workspace}/computes/{runtime.body['computeInstanceName']}")
        return found if found and found.id.type.lower() == COMPUTE_TYPE.lower() else None

    def _find(self, key: tuple[str, str]) -> Runtime | None:
        found = self._runtimes.get(key)
        return found if found and self._cloud.clock.now() < found.gone else None

    def _below(self, workspace: str) -> list[Runtime]:
        keys = [key for key in self._runtimes if key[0] == workspace.lower()]
        return [found for key in keys if (found := self._find(key))]

    def _owner(self, call: Call) -> dict[str, str]:
        token = self._cloud.directory.token_of(call.request.headers)
        assert token is not None, "the cloud lets nobody in without one"
        by = token.principal
        return {"userObjectId": by.object_id, "userTenantId": self._cloud.directory.tenant, "userName": by.client_id}


def _absent(name: str) -> Refused:
    return Refused(404, "RuntimeNotFound", f"The runtime {name} was not found.")
