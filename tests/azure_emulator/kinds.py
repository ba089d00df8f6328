"""What a resource type brings with it: a resource's record, and the hooks that a service plugs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .arm_ids import ArmId
from .operations import ENDPOINTS, SUCCEEDED, Lro, Operation
from .wire import Request, Response

Body = dict[str, Any]


@dataclass(slots=True)
class Resource:
    """One resource. `body` is what was written; `previous` what was there before the latest write.

    `state` is its provisioning state; `operation` the latest one; `data` what its service keeps for itself
    (secrets, processes): it is never shown, and it outlives updates.
    """

    id: ArmId
    body: Body
    created: float
    data: dict[str, Any] = field(default_factory=dict)
    state: str = SUCCEEDED
    operation: Operation | None = None
    previous: Body | None = None

    @property
    def properties(self) -> Body:
        """The body's properties, made if there are none."""
        found: Body = self.body.setdefault("properties", {})
        return found

    @property
    def pending(self) -> bool:
        """Whether an operation on it is under way."""
        return self.operation is not None and self.operation.pending


@dataclass(slots=True)
class Put:
    """A PUT or PATCH about to be accepted. A hook may change `body` and `data`: they become the resource's."""

    request: Request
    id: ArmId
    body: Body
    existing: Resource | None
    data: dict[str, Any] = field(default_factory=dict)


Action = Callable[[Request, Resource], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource type. Hooks say no by raising `Refused`; while an operation ends, that makes it a failed one.

    `async_`      PUT, PATCH and DELETE are long-running operations with the headers of `lro`, and there is a
                  `properties.provisioningState`
    `check_put`   before a write is accepted: checks, fills in, takes out
    `settled`     when a write takes effect: at once, or when its operation's time is up
    `check_delete`, `deleted`   before a removal is accepted; when the resource goes
    `shown`       adds to the body that a read answers, a deep copy
    `listed`      chooses the members of a list, instead of all of that type below its path
    `actions`     by name in lower case
    `needs`       query parameters without which a method is refused
    `answers_deleted`   a DELETE answers the body of what it removed
    `created`     the status of the answer to a PUT of a new one
    `implicit`    it need not exist before what lies below it is written: that brings it
    """

    async_: bool = False
    lro: Lro = ENDPOINTS
    check_put: Callable[[Put], Awaitable[None]] | None = None
    settled: Callable[[Resource], Awaitable[None]] | None = None
    check_delete: Callable[[Request, Resource], Awaitable[None]] | None = None
    deleted: Callable[[Resource], Awaitable[None]] | None = None
    shown: Callable[[Resource, Body], None] | None = None
    listed: Callable[[Request, ArmId], Iterable[Resource]] | None = None
    actions: Mapping[str, Action] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    answers_deleted: bool = False
    created: int = 201
    implicit: bool = False
