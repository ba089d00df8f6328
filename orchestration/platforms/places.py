"""What an evaluation needs where it doesn't run in the worker: resources of one run as data, and their lifecycle.

The lifecycle is that of `platforms.base`: `create` starts something and returns at once, `get` says how it stands, and
the steps wait. All of it carries the run's name and an end in its tags, so that what a killed run left can be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestration.platforms.base import Found, Patience, RoleAssignment
from orchestration.values import Json

RUN_TAG, EXPIRES_TAG = "run", "expires"  # whose it is; from when on (ISO 8601, UTC) anybody may remove it


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """Who a compute instance is."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)

    kind = "managed identity"


@dataclass(frozen=True, slots=True)
class ComputeInstance:
    """The machine of one run, with the managed identity of that name. It stops by itself after `idle_minutes`."""

    name: str
    size: str
    identity: str
    idle_minutes: int
    tags: Mapping[str, str] = field(default_factory=dict)

    kind = "compute instance"


@dataclass(frozen=True, slots=True)
class InstanceRuntime:
    """What runs prompt flows on a compute instance. It has no tags: it is as much ours as its instance is."""

    name: str
    instance: str

    kind = "runtime"


PlaceResource = ManagedIdentity | RoleAssignment | ComputeInstance | InstanceRuntime


class EvaluationPlace(Protocol):
    """Where an evaluation runs. A role assignment is named by the identity that has it. Raises only `PlatformError`s and `ConfigurationError`.

    What carries no tag of ours, or that of another run, is never adopted (`ResourceRefused`); what carries no tag of
    ours is never removed.
    """

    def create(self, resource: PlaceResource) -> None:
        """Start to create it; adopt it if this run made it. Raises `PlatformConflict`: wait, then send it again."""

    def get(self, kind: str, name: str) -> Found | None:
        """How it stands; None only if it is truly absent."""

    def delete(self, kind: str, name: str) -> None:
        """Remove it; absent is done. Raises `PlatformConflict` while another operation is in the way."""

    def owned(self, kind: str) -> Sequence[Found]:
        """All of that kind that runs of ours made."""

    def patience(self, kind: str) -> Patience:
        """How long, and how often, to ask for a resource of that kind, or with `base.REMOVAL` for one to go."""

    def access(self, identity: str) -> RoleAssignment:
        """What the identity of that name must be granted. Raises `PlatformConflict` while it is not known yet."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """One run of a flow over data, or of an evaluation flow over a run (`run`), on a runtime; `name` is our own.

    `connections` names other connections and models for nodes: `{node: {"connection": …, "deployment_name": …}}`.
    """

    name: str
    flow: Path
    data: Path
    column_mapping: Mapping[str, Json]
    runtime: str
    run: str = ""
    variant: str | None = None
    connections: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunState:
    """How a run stands, in the service's word, and why if it failed."""

    state: str
    message: str = ""


class CloudRuns(Protocol):
    """Runs of a workspace. Raises only `PlatformError`s and `ConfigurationError`."""

    def submit(self, order: RunOrder) -> None:
        """Start it; one of that name is left as it is."""

    def state(self, name: str) -> RunState | None:
        """How it stands; None if there is none of that name."""

    def lines(self, name: str) -> Sequence[Mapping[str, Any]]:
        """What became of each line: `number`, and a `result` as in docs/runner-protocol.md."""

    def metrics(self, name: str) -> Mapping[str, Json]:
        """What the flow logged over all lines."""

    def cancel(self, name: str) -> None:
        """Ask for its end."""
