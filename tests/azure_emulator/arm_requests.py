"""The HTTP of Azure Resource Manager: which answer each method gets, with the headers of its operation."""

from __future__ import annotations

import copy
from typing import Any
from urllib.parse import urlencode, urlsplit

from .arm import ArmStore
from .arm_ids import ArmId, group_of
from .faults import StaleRead
from .kinds import Body, Kind, Put, Resource
from .operations import DELETING, Operation, polled
from .wire import Refused, Request, Response

RESOURCE_GROUP = "microsoft.resources/subscriptions/resourcegroups"


def call_name(request: Request) -> tuple[str, str]:
    """Method and kind of a call, as scenarios name it."""
    if polled(request):
        return request.method, "operation"
    id_ = ArmId.parse(request.path)
    if id_ is None:
        return request.method, request.path
    is_list = request.method == "GET" and not id_.is_resource
    return ("LIST" if is_list else request.method), id_.type


class ArmRequests:
    """Answers requests to management.azure.com from a store."""

    def __init__(self, store: ArmStore) -> None:
        self._store = store

    async def handle(self, request: Request) -> Response | None:
        """The answer; None if the path is of no known kind."""
        try:
            return await self._poll(request) or await self._dispatch(request)
        except Refused as no:
            return no.response()

    async def _poll(self, request: Request) -> Response | None:
        named = polled(request)
        operation = self._store.operations.get(named[1].lower()) if named else None
        if named is None or operation is None:
            return None
        resource = self._store.peek(operation.target.path)
        if resource is not None and resource.operation is operation:
            await self._store.settle(resource)
        left = self._store.peek(operation.target.path)
        return operation.poll(named[0], self._wait_ms, self._store.shown(left) if left else None)

    async def _dispatch(self, request: Request) -> Response | None:
        id_ = ArmId.parse(request.path)
        if id_ is None:
            return None
        if request.method == "POST":
            return await self._action(request, id_)
        if not self._store.known(id_):
            return None
        _check_query(request, self._store.kind_of(id_))
        if not id_.is_resource:
            return await self._list(request, id_) if request.method == "GET" else None
        do = {"GET": self._get, "PUT": self._put, "PATCH": self._patch, "DELETE": self._delete}.get(request.method)
        return await do(request, id_) if do else None

    async def _get(self, request: Request, id_: ArmId) -> Response:
        resource = await self._store.find(id_.path)
        body = self._store.shown(resource) if resource else None
        if isinstance(request.fault, StaleRead):
            body = self._store.before(id_, body)
        if body is None:
            raise self._absent(id_)
        return Response(200, body)

    async def _list(self, request: Request, id_: ArmId) -> Response:
        if id_.parent:
            await self._store.find(id_.parent.path)
        self._check_parent(id_)
        listed = self._store.kind_of(id_).listed
        for resource in self._members(id_):
            await self._store.settle(resource)
        members = list(listed(request, id_)) if listed else self._members(id_)
        bodies: list[Body | None] = [self._store.shown(each) for each in members]
        if isinstance(request.fault, StaleRead):
            bodies = [self._store.before(each.id, body) for each, body in zip(members, bodies, strict=True)]
        return page(request, [body for body in bodies if body is not None], self._store.scenario.page_size)

    def _members(self, id_: ArmId) -> list[Resource]:
        return self._store.below(id_.parent.path if id_.parent else id_.scope, id_.type)

    async def _put(self, request: Request, id_: ArmId) -> Response:
        body = _json_object(request)
        self._check_parent(id_, of_new=True)
        return await self._write(request, id_, body, await self._store.find(id_.path))

    async def _patch(self, request: Request, id_: ArmId) -> Response:
        existing = await self._store.find(id_.path)
        if existing is None:
            raise self._absent(id_)
        return await self._write(request, id_, merged(existing.body, _json_object(request)), existing)

    async def _write(self, request: Request, id_: ArmId, body: Body, existing: Resource | None) -> Response:
        _check_idle(existing)
        put = Put(request, id_, copy.deepcopy(body), existing, dict(existing.data) if existing else {})
        check = self._store.kind_of(id_).check_put
        if check:
            await check(put)
            put.existing = self._store.peek(id_.path)
            _check_idle(put.existing)  # the hook may have waited
        resource = await self._store.write(put)
        if resource.operation is None:
            return Response(200 if put.existing else self._store.kind_of(id_).created, self._store.shown(resource))
        return self._accepted(request, resource, resource.operation, new=put.existing is None)

    def _accepted(self, request: Request, resource: Resource, operation: Operation, *, new: bool) -> Response:
        status = 202 if request.method == "PATCH" else 201 if new else 200
        body = None if status == 202 else self._store.shown(resource)
        return Response(status, body, operation.headers(self._wait_ms))

    async def _delete(self, request: Request, id_: ArmId) -> Response:
        resource = await self._store.find(id_.path)
        if resource is None:
            return Response(204)
        if resource.operation and resource.pending and resource.operation.verb == DELETING:
            return Response(202, None, resource.operation.headers(self._wait_ms))
        _check_idle(resource)
        kind, body = self._store.kind_of(id_), self._store.shown(resource)
        if kind.check_delete:
            await kind.check_delete(request, resource)
        await self._store.drop(request, resource)
        if kind.async_ and resource.operation:
            return Response(202, None, resource.operation.headers(self._wait_ms))
        return Response(200, body if kind.answers_deleted else None)

    async def _action(self, request: Request, id_: ArmId) -> Response | None:
        owner = None if id_.is_resource else id_.parent
        act = self._store.kind_of(owner).actions.get(id_.name.lower()) if owner else None
        if owner is None or act is None:
            return None
        _check_query(request, Kind())
        resource = await self._store.find(owner.path)
        if resource is None:
            raise self._absent(owner)
        return await act(request, resource)

    @property
    def _wait_ms(self) -> int:
        return self._store.scenario.retry_after_ms

    def _check_parent(self, id_: ArmId, *, of_new: bool = False) -> None:
        parent = id_.parent
        if parent and of_new and self._store.kind_of(parent).implicit:
            self._check_parent(parent)
        elif parent and self._is_missing(parent):
            raise self._absent(parent)

    def _is_missing(self, id_: ArmId) -> bool:
        return id_.is_resource and self._store.known(id_) and self._store.peek(id_.path) is None

    def _absent(self, id_: ArmId) -> Refused:
        if id_.parent and self._is_missing(id_.parent):
            return self._absent(id_.parent)
        if id_.type.lower() == RESOURCE_GROUP:
            return Refused(404, "ResourceGroupNotFound", f"Resource group '{id_.name}' could not be found.")
        what, group = "/".join((id_.namespace, *id_.segments)), group_of(id_.path)
        return Refused(404, "ResourceNotFound", f"The Resource '{what}' under resource group '{group}' was not found.")


def page(request: Request, bodies: list[Body], size: int) -> Response:
    """One page of a list, with the address of the next. `$top`, `$skipToken` and newest-first are understood."""
    if "desc" in request.query.get("$orderBy", request.query.get("$orderby", "")).lower():
        bodies.reverse()
    first = int(request.query.get("$skipToken", "0"))
    last = first + min(size, int(request.query.get("$top", size)))
    answer: dict[str, Any] = {"value": bodies[first:last]}
    if last < len(bodies):
        query = urlencode({**request.query, "$skipToken": str(last)})
        answer["nextLink"] = f"{urlsplit(request.url)._replace(query='').geturl()}?{query}"
    return Response(200, answer)


def merged(body: Body, patch: Body) -> Body:
    """A JSON merge patch: null removes, objects are merged, all else replaces."""
    result = copy.deepcopy(body)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            below = result.get(name)
            result[name] = merged(below if isinstance(below, dict) else {}, value)
        else:
            result[name] = value
    return result


def _json_object(request: Request) -> Body:
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.")
    return body


def _check_query(request: Request, kind: Kind) -> None:
    if "api-version" not in request.query:
        raise Refused(400, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required.")
    for name in kind.needs.get(request.method, ()):
        if name not in request.query:
            raise Refused(400, "BadRequest", f"The query parameter '{name}' is required.")


def _check_idle(resource: Resource | None) -> None:
    if resource is not None and resource.pending:
        what = f"another operation on same entity is already running: {resource.id.name} is {resource.state}"
        raise Refused(409, "Conflict", f"Conflict of operation, {what}.")
