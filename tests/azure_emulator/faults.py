"""What can go wrong with one call, as data: the nineteen faults of the matrix, and how each one is played.

The connection plays the first group (it breaks or replaces the answer); the store of resources plays the
second (it knows what was read before and which operation was started).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with this status, and do nothing."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection, before anything was done or after all of it was."""

    after_commit: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Answer this many seconds later, by the emulator's clock."""

    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Truncated:
    """Do it, announce the whole answer, send half of it and hang up."""


@dataclass(frozen=True, slots=True)
class WrongJson:
    """Do it, and answer with a body that is no JSON though its type says so."""

    body: bytes = b'{"value": ['


@dataclass(frozen=True, slots=True)
class StaleRead:
    """Answer a read with what there was before the latest change."""


@dataclass(frozen=True, slots=True)
class OperationFails:
    """Accept the operation; when its time is up, it has failed. An empty code sends none."""

    code: str = "InternalServerError"
    message: str = "An internal error occurred. Try again later."


@dataclass(frozen=True, slots=True)
class OperationNeverEnds:
    """Accept the operation, and never end it."""


Fault = Status | Reset | Delay | Truncated | WrongJson | StaleRead | OperationFails | OperationNeverEnds
RETRY_AFTER = {"Retry-After": "1"}
CHALLENGE = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
STATUSES = (
    Status(400, "BadRequest", "The request is invalid."),
    Status(401, "InvalidAuthenticationToken", "The access token is invalid.", CHALLENGE),
    Status(403, "AuthorizationFailed", "The client does not have authorization to perform the action over the scope."),
    Status(404, "ResourceNotFound", "The resource was not found."),
    Status(409, "Conflict", "Conflict of operation, another operation on same entity is already running."),
    Status(412, "PreconditionFailed", "The condition set by 'If-Match' was not satisfied."),
    Status(429, "TooManyRequests", "The request is being throttled.", RETRY_AFTER),
    Status(500, "InternalServerError", "The server encountered an error."),
    Status(502, "BadGateway", "The gateway received a bad response."),
    Status(503, "ServiceUnavailable", "The service is unavailable.", RETRY_AFTER),
    Status(504, "GatewayTimeout", "The gateway did not receive a response in time."),
)
PRINCIPAL_NOT_FOUND = Status(400, "PrincipalNotFound", "Principal does not exist in the directory.")
MATRIX: Mapping[str, Fault] = {
    **{str(each.status): each for each in STATUSES},
    "reset before": Reset(),
    "reset after commit": Reset(after_commit=True),
    "delay": Delay(),
    "truncated body": Truncated(),
    "wrong JSON": WrongJson(),
    "stale read": StaleRead(),
    "operation failed": OperationFails(),
    "operation never ends": OperationNeverEnds(),
}
