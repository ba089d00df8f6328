"""The seam between the steps and a platform: resources as data, one generic lifecycle, live traffic.

`create` starts something and returns at once; `get` says how it stands; the steps wait with
`polling.wait_until`. States are Azure's: Creating, Updating, Deleting, Succeeded, Failed, Canceled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tenacity.wait import wait_base

from orchestration.values import Binding, Candidate, Json, ModelVersion, Traffic

OWNER_TAG = "sluice"  # every resource that we create carries it
RUNTIME_TAG = "runtime"  # on an online deployment of this machine: its interpreter
SUCCEEDED, DELETING = "Succeeded", "Deleting"
FAILED = frozenset({"Failed", "Canceled"})
BUSY = frozenset({"Creating", "Updating", DELETING, "Scaling"})
# Not Azure's: it can't be read, only removed; it is there and does not run until its endpoint is created again.
DAMAGED, STOPPED = "Damaged", "Stopped"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An online endpoint: one address, one key, several online deployments, a traffic map."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)

    kind = "endpoint"


@dataclass(frozen=True, slots=True)
class OnlineDeployment:
    """One registered model version, served. `runtime` is the interpreter of its environment."""

    name: str
    endpoint: str
    model: ModelVersion
    binding: Binding
    runtime: Path
    variant: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    kind = "online deployment"


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """The right of an endpoint's identity to do something: `role_id` (a role definition's GUID) at `scope`."""

    name: str
    scope: str
    principal_id: str
    role_id: str
    endpoint: str
    tags: Mapping[str, str] = field(default_factory=dict)

    kind = "role assignment"


Resource = Endpoint | OnlineDeployment | RoleAssignment
REMOVAL = "removal"  # what `patience` calls waiting for a resource of any kind to go


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, and how often, to ask for a resource of a kind."""

    timeout_seconds: float
    wait: wait_base


@dataclass(frozen=True, slots=True)
class Found:
    """A resource as the platform describes it now."""

    kind: str
    name: str
    state: str
    message: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint said. `seconds` as the caller saw it; `deployment` is the one that answered."""

    status: int
    body: Json
    seconds: float
    deployment: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """What a deployment has served since a moment: the evidence of a traffic step."""

    requests: int
    errors: int
    p95_seconds: float | None


class Platform(Protocol):
    """Where models and endpoints live. Raises only `PlatformError`s and `ConfigurationError`.

    Endpoint and deployment names are checked before anything is created; what carries no tag of ours
    is never changed or removed (`ResourceRefused`).
    """

    def create(self, resource: Resource) -> None:
        """Start to create it; adopt it if it is ours and equal; refuse what belongs to others.

        An endpoint is brought up with that: what it serves gets its connections as they are now. Like every other
        write it raises `PlatformConflict` while another operation is in the way: wait, then send it again.
        """

    def get(self, kind: str, name: str, *, endpoint: str = "") -> Found | None:
        """How it stands; None only if it is truly absent. Raises `ResourceDamaged` if that can't be read."""

    def delete(self, kind: str, name: str, *, endpoint: str = "") -> None:
        """Remove it; absent is done. A deployment with traffic is refused with `PlatformConflict`."""

    def tag(self, kind: str, name: str, tags: Mapping[str, str], *, endpoint: str = "") -> None:
        """Merge tags into those of a resource of ours. Raises `ResourceNotFound`."""

    def owned(self, kind: str, *, endpoint: str = "") -> Sequence[Found]:
        """All of that kind that carry our tag; an endpoint that can't be read is listed as `DAMAGED`."""

    def logs(self, kind: str, name: str, *, endpoint: str = "", lines: int = 50) -> str:
        """The last lines that it printed, secrets removed; the empty string if there are none."""

    def patience(self, kind: str) -> Patience:
        """How long, and how often, to ask for a resource of that kind, or with `REMOVAL` for one to go."""

    def access(self, endpoint: str) -> Sequence[RoleAssignment]:
        """What the endpoint's identity must be granted before its first deployment. `PlatformConflict`: not known yet."""

    def render(self, deployment: OnlineDeployment) -> dict[str, Json]:
        """What will be sent for an online deployment, without secrets. Sends nothing."""

    def traffic(self, endpoint: str) -> Traffic:
        """The live map. Raises `ResourceNotFound`."""

    def set_traffic(
        self,
        endpoint: str,
        weights: Mapping[str, int],
        *,
        generation: int,
        previous: Mapping[str, int] | None = None,
    ) -> Traffic:
        """Replace the map and remember another, in one write: `previous`, by default the live one.

        A rollout in steps passes the map it started from each time, so that going back is always one call.
        Weights sum to 0 or 100. Raises `PlatformConflict` if the live generation is another, and for
        a weight above 0 on a deployment that is not healthy. In force once the endpoint has succeeded again.
        """

    def hold(self, endpoint: str, *, owner: str) -> AbstractContextManager[None]:
        """The one lock: at most one release per endpoint. Raises `EndpointHeld` with the holder."""

    def invoke(
        self, endpoint: str, inputs: Mapping[str, Json], *, deployment: str = "", timeout_seconds: float = 60
    ) -> Answer:
        """Send one request, to `deployment` if named, else by weight."""

    def load(self, endpoint: str, deployment: str, *, since: float) -> Load | None:
        """What the deployment has served since `since` (seconds since the epoch); None where the platform can't tell."""

    def url(self, endpoint: str) -> str:
        """The scoring address."""

    def example(self, endpoint: str, inputs: Mapping[str, Json]) -> str:
        """A shell command that sends one request; it reads the key where it is kept, and doesn't show it."""

    def find_model(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        """The registered version with this content, if there is one."""

    def register_model(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        """Register the candidate's content; the same content is the same version, also under races."""

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        """Point an environment's alias at the version: for people, never read by code."""
