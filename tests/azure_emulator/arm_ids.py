"""Paths of Azure Resource Manager: which resource, collection or action a URL names."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PROVIDER = re.compile(r"^(?P<scope>.*)/providers/(?P<namespace>[^/]+)(?P<rest>(?:/[^/]+)*)$", re.IGNORECASE)
_PLAIN = re.compile(r"^/subscriptions/[^/]+(?:/resourceGroups(?:/[^/]+)?)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ArmId:
    """One path, split. `scope` is what lies before the last `/providers/`; `segments` alternate type and name."""

    path: str
    scope: str
    namespace: str
    segments: tuple[str, ...]

    @classmethod
    def parse(cls, path: str) -> ArmId | None:
        """The parts of a path; None if it has no provider and is no subscription or resource group."""
        path = path.rstrip("/")
        if found := _PROVIDER.match(path):
            return cls(path, found["scope"], found["namespace"], tuple(found["rest"].split("/")[1:]))
        if _PLAIN.match(path):
            return cls(path, "", "Microsoft.Resources", tuple(path.split("/")[1:]))
        return None

    @property
    def key(self) -> str:
        """The path as a key: resource ids know no case."""
        return self.path.lower()

    @property
    def type(self) -> str:
        """The full resource type; of a collection that of its members."""
        return "/".join((self.namespace, *self.segments[::2]))

    @property
    def name(self) -> str:
        """The last segment."""
        return self.segments[-1] if self.segments else self.namespace

    @property
    def is_resource(self) -> bool:
        """Whether it names one resource, and not a collection or an action."""
        return bool(self.segments) and len(self.segments) % 2 == 0

    @property
    def parent(self) -> ArmId | None:
        """Whatever must exist for this to exist: the resource above, or the scope. Of an action: its resource."""
        drop = 2 if self.is_resource else 1
        above = self.path.rsplit("/", drop)[0] if len(self.segments) > drop else self.scope
        return ArmId.parse(above)

    def under(self, scope: str) -> bool:
        """Whether it is that scope or lies below it."""
        return self.key == scope.lower() or self.key.startswith(f"{scope.lower().rstrip('/')}/")


def group_of(path: str) -> str:
    """The resource group in a path, for messages."""
    found = re.search(r"/resourceGroups/([^/]+)", path, re.IGNORECASE)
    return found[1] if found else ""
