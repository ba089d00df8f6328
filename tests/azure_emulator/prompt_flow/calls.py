"""The calls of prompt flow's service and of those beside it: which paths there are, and what each names."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..wire import Refused, Request, Response

if TYPE_CHECKING:
    from ..cloud import Cloud

FLOW, HISTORY, METRIC = "flow/api", "history/v1.0", "metric/v2.0"
DATA, CONTENT, INDEX = "data/v1.0", "content/v2.0", "index/v1.0"
_SERVICES = "|".join(map(re.escape, (FLOW, HISTORY, METRIC, DATA, CONTENT, INDEX)))
# The region's own host, or the studio's, which puts `/api/<region>` in front of the same.
_PATH = re.compile(
    rf"^(?:/api/[^/]+)?/(?P<service>{_SERVICES})"
    r"(?P<workspace>/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.MachineLearningServices/"
    r"workspaces/[^/]+)/(?P<rest>.+?)/?$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the request, the workspace that it is about, and the name of the thing in its path, if any."""

    request: Request
    workspace: str
    name: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What tells its thing apart from all others."""
        return self.workspace.lower(), self.name.lower()

    def body(self) -> dict[str, Any]:
        """The body as a JSON object. Raises `Refused`."""
        try:
            found = self.request.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Refused(400, "BadArgument", "The request body is not a JSON object.")
        return found


Act = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `path` is what follows the workspace; `{name}` in it stands for a name."""

    method: str
    service: str
    path: str
    kind: str
    act: Act

    def name_in(self, rest: str) -> str | None:
        """The name in the rest of a path, empty if the operation has none; None if it is another operation's."""
        pattern = re.escape(self.path).replace(r"\{name\}", "(?P<name>[^/]+)")
        found = re.fullmatch(pattern, rest, re.IGNORECASE)
        return None if found is None else found.groupdict().get("name", "")


class Operations:
    """All operations; the first that fits a request answers it."""

    def __init__(self, cloud: Cloud, operations: Iterable[Operation]) -> None:
        self._cloud, self._operations = cloud, list(operations)

    def kind(self, request: Request) -> str:
        """What scenarios call the request; empty for those of others."""
        found = self._find(request)
        return found[0].kind if found else ""

    async def handle(self, request: Request) -> Response | None:
        """The answer; None for requests that are no operation's. Raises `Refused`."""
        found = self._find(request)
        if found is None:
            return None
        operation, call = found
        if self._cloud.arm.peek(call.workspace) is None:
            raise Refused(404, "WorkspaceNotFound", f"The workspace {call.workspace} was not found.")
        return await operation.act(call)

    def _find(self, request: Request) -> tuple[Operation, Call] | None:
        path = _PATH.match(request.path)
        for each in self._operations if path else ():
            name = each.name_in(path["rest"]) if path and path["service"].lower() == each.service else None
            if path and name is not None and request.method == each.method:
                return each, Call(request, path["workspace"], name)
        return None


def closed(body: dict[str, Any], known: Iterable[str]) -> None:
    """Refuse a body with properties that the service's description does not have. Raises `Refused`."""
    unknown = sorted(set(body) - set(known))
    if unknown:
        text = f"Could not find member '{unknown[0]}' on the request's object: it is closed."
        raise Refused(400, "BadArgument", text)
