"""The resources of an emulated cloud: any kind, by path, with their states by the clock.

A service plugs in what is particular to its resource types with `store.kind(...)`; the rest is generic, and
`arm_requests` is its HTTP.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .arm_ids import ArmId
from .clock import Clock
from .faults import OperationFails, OperationNeverEnds
from .kinds import Body, Kind, Put, Resource
from .operations import CANCELED, CREATING, DELETING, FAILED, SUCCEEDED, UPDATING, Operation
from .scenario import Scenario
from .wire import Refused, Request

__all__ = ["ArmStore", "Change", "Kind", "Put", "Resource"]


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the history: what a resource looked like after it was written, settled or removed (None)."""

    at: float
    path: str
    verb: str
    body: Body | None


class ArmStore:
    """All resources of one cloud. Lives in the cloud's event loop; hooks run there too.

    A hook that looks at other resources uses `peek` and `below`, which settle nothing: `find` inside a hook could
    wait for the very operation that the hook belongs to.
    """

    def __init__(self, scenario: Scenario, clock: Clock, *, region: str) -> None:
        self.region = region
        self.scenario, self.clock = scenario, clock
        self.resources: dict[str, Resource] = {}
        self.operations: dict[str, Operation] = {}
        self.history: list[Change] = []
        self._kinds: dict[str, tuple[str, Kind]] = {}
        self._before: dict[str, Body | None] = {}

    def kind(self, type_: str, kind: Kind) -> None:
        """Teach the store a resource type, by its full name."""
        self._kinds[type_.lower()] = (type_, kind)

    def seed(self, path: str, body: Mapping[str, Any], *, data: Mapping[str, Any] | None = None) -> Resource:
        """Let a resource exist since the beginning of time; no hook is asked. Raises `ValueError` for a bad path."""
        id_ = ArmId.parse(path)
        if id_ is None or not id_.is_resource:
            raise ValueError(f"{path} names no resource")
        resource = Resource(id_, self.enveloped(id_, copy.deepcopy(dict(body))), -math.inf, dict(data or {}))
        self.resources[id_.key] = resource
        return resource

    def peek(self, path: str) -> Resource | None:
        """The resource as it was last written or settled."""
        return self.resources.get(path.rstrip("/").lower())

    def below(self, path: str, type_: str) -> list[Resource]:
        """The resources of a type under a path, in the order of their creation, as they were last settled."""
        found = [each for each in self.resources.values() if each.id.type.lower() == type_.lower()]
        return sorted((each for each in found if each.id.under(path)), key=lambda each: each.created)

    async def find(self, path: str) -> Resource | None:
        """The resource as it stands now; None if it is absent: what it lies in may just have taken it along."""
        id_ = ArmId.parse(path)
        if id_ and id_.parent and self.peek(id_.parent.path):
            await self.find(id_.parent.path)
        resource = self.peek(path)
        if resource is not None:
            await self.settle(resource)
        return self.peek(path)

    def shown(self, resource: Resource) -> Body:
        """What a GET answers."""
        body = copy.deepcopy(resource.body)
        kind = self.kind_of(resource.id)
        if kind.async_:
            body.setdefault("properties", {})["provisioningState"] = resource.state
        if kind.shown:
            kind.shown(resource, body)
        return body

    def before(self, resource: ArmId, shown: Body | None) -> Body | None:
        """What a stale read still sees: the body before the latest change, `shown` if there was none."""
        return self._before.get(resource.key, shown)

    def known(self, id_: ArmId) -> bool:
        """Whether the store was taught that type."""
        return id_.type.lower() in self._kinds

    def kind_of(self, id_: ArmId) -> Kind:
        """The hooks of that type; none for a type that is not known."""
        return self._kinds[id_.type.lower()][1] if self.known(id_) else Kind()

    def enveloped(self, id_: ArmId, body: Body) -> Body:
        """The body with its id, name and type."""
        type_ = self._kinds[id_.type.lower()][0] if self.known(id_) else id_.type
        return {**body, "id": id_.path, "name": id_.name, "type": type_}

    async def write(self, put: Put) -> Resource:
        """Accept a write that was checked. It takes effect now, or when its operation's time is up."""
        kind, existing = self.kind_of(put.id), put.existing
        created = existing.created if existing else self.clock.now()
        resource = Resource(put.id, self.enveloped(put.id, put.body), created, put.data)
        resource.previous = existing.body if existing else None
        before = self.shown(existing) if existing else None
        if kind.async_:
            self.begin(put.request, resource, UPDATING if existing else CREATING)
        elif kind.settled:
            await kind.settled(resource)
        self._before[put.id.key] = before
        self.resources[put.id.key] = resource
        self._note(resource, resource.state if kind.async_ else "written")
        return resource

    async def drop(self, request: Request, resource: Resource) -> None:
        """Accept a removal that was checked."""
        self._before[resource.id.key] = self.shown(resource)
        if self.kind_of(resource.id).async_:
            self.begin(request, resource, DELETING)
            self._note(resource, DELETING)
        else:
            await self._remove(resource)

    def begin(self, request: Request, resource: Resource, verb: str) -> Operation:
        """Start an operation on a resource. Its method and the scenario say how long it takes and how it ends."""
        now, fault = self.clock.now(), request.fault
        takes = self.scenario.duration(request.method, resource.id.type, update=verb == UPDATING)
        operation = Operation(
            self.kind_of(resource.id).lro,
            request.method,
            verb,
            resource.id,
            region=self.region,
            api_version=request.query.get("api-version", ""),
            started=now,
            ends=math.inf if isinstance(fault, OperationNeverEnds) else now + takes,
            failure=fault if isinstance(fault, OperationFails) else None,
        )
        resource.operation, resource.state = operation, verb
        self.operations[operation.name.lower()] = operation
        return operation

    async def settle(self, resource: Resource) -> None:
        """End its operation if its time is up."""
        operation = resource.operation
        if operation is None or not operation.pending or self.clock.now() < operation.ends:
            return
        async with operation.lock:
            if operation.pending:
                await self._end(resource, operation)

    async def _end(self, resource: Resource, operation: Operation) -> None:
        try:
            await self._take_effect(resource, operation)
        except Refused as no:
            operation.end(operation.ends, FAILED, {**({"code": no.code} if no.code else {}), "message": no.message})
            resource.state = FAILED
            if operation.verb == UPDATING and resource.previous is not None:
                resource.body = resource.previous
        else:
            operation.end(operation.ends, SUCCEEDED)
            resource.state = SUCCEEDED
        if self.peek(resource.id.path) is resource:
            self._note(resource, operation.status, at=operation.ends)

    async def _take_effect(self, resource: Resource, operation: Operation) -> None:
        if operation.failure:
            raise Refused(400, operation.failure.code, operation.failure.message)
        settled = self.kind_of(resource.id).settled
        if operation.verb == DELETING:
            await self._remove(resource)
        elif settled:
            await settled(resource)

    async def _remove(self, resource: Resource) -> None:
        """Remove it and all that lies below it, the lowest first."""
        below = [each for each in self.resources.values() if each is not resource and each.id.under(resource.id.path)]
        for each in sorted(below, key=lambda lower: -len(lower.id.segments)):
            await self._remove(each)
        if resource.id.key not in self.resources:
            return
        deleted = self.kind_of(resource.id).deleted
        if deleted:
            await deleted(resource)
        del self.resources[resource.id.key]
        if resource.operation and resource.pending:
            resource.operation.end(self.clock.now(), CANCELED, _GONE)  # of what ends by itself, the end follows
        self.history.append(Change(self.clock.now(), resource.id.path, "deleted", None))

    def cancel(self) -> None:
        """End whatever is under way, so that nobody goes on polling."""
        for operation in self.operations.values():
            if operation.pending:
                operation.end(self.clock.now(), CANCELED, _GONE)

    def _note(self, resource: Resource, verb: str, *, at: float | None = None) -> None:
        moment = self.clock.now() if at is None else at
        self.history.append(Change(moment, resource.id.path, verb, self.shown(resource)))


_GONE = {"code": "OperationCanceled", "message": "The operation was canceled: its resource is gone."}
