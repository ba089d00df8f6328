"""Azure Machine Learning as a platform: endpoints, online deployments and roles by one lifecycle, models, traffic, lock.

What is started here goes on in Azure: nothing in this package waits. The steps do, by `get` and `patience`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

from orchestration.errors import PlatformError
from orchestration.platforms.azure.deployments import Deployments
from orchestration.platforms.azure.endpoints import Endpoints
from orchestration.platforms.azure.lease import check_lease, held
from orchestration.platforms.azure.logs import logs
from orchestration.platforms.azure.models import Models
from orchestration.platforms.azure.roles import Roles
from orchestration.platforms.azure.scoring import Scoring
from orchestration.platforms.azure.traffic import set_traffic, traffic_of
from orchestration.platforms.azure.workspace import Session, open_session
from orchestration.platforms.base import (
    REMOVAL,
    Answer,
    Endpoint,
    Found,
    Load,
    OnlineDeployment,
    Patience,
    Resource,
    RoleAssignment,
)
from orchestration.platforms.names import check_name
from orchestration.polling import REAL, Clock, every
from orchestration.settings import Settings
from orchestration.settings.azure_account import azure_section
from orchestration.values import Candidate, Json, ModelVersion, Traffic

ENDPOINT, DEPLOYMENT, ROLE = Endpoint.kind, OnlineDeployment.kind, RoleAssignment.kind


class AzurePlatform:
    """Implements `platforms.base.Platform` in the workspace that the settings name. Opening connects to nothing.

    `clock` is what the SDK's own repetitions wait by.
    """

    def __init__(self, settings: Settings, *, clock: Clock = REAL) -> None:
        self._settings, self._clock = settings, clock

    # ---- resources

    def create(self, resource: Resource) -> None:
        """See `Platform.create`. Raises `PlatformConflict` while Azure works on what is in the way: wait, then again."""
        if isinstance(resource, Endpoint):
            self._endpoints.create(resource)
        elif isinstance(resource, RoleAssignment):
            self._roles.create(resource)
        else:
            self._deployments.create(resource)

    def get(self, kind: str, name: str, *, endpoint: str = "") -> Found | None:
        """See `Platform.get`. Absent is only what Azure does not have while the workspace is there and can be read."""
        if kind == ENDPOINT:
            return self._endpoints.get(name)
        return self._deployments.get(name, endpoint) if kind == DEPLOYMENT else self._roles.get(name, endpoint)

    def delete(self, kind: str, name: str, *, endpoint: str = "") -> None:
        """See `Platform.delete`. With an endpoint go the roles of its own identity, which nobody would find later."""
        if kind == ENDPOINT:
            roles = self._roles.own(name)
            self._endpoints.delete(name)
            for each in roles:
                self._roles.remove(each)
        elif kind == DEPLOYMENT:
            self._deployments.delete(name, endpoint)
        else:
            self._roles.delete(name, endpoint)

    def owned(self, kind: str, *, endpoint: str = "") -> Sequence[Found]:
        """See `Platform.owned`."""
        if kind == ENDPOINT:
            return self._endpoints.owned()
        return self._deployments.owned(endpoint) if kind == DEPLOYMENT else self._roles.owned(endpoint)

    def tag(self, kind: str, name: str, tags: Mapping[str, str], *, endpoint: str = "") -> None:
        """See `Platform.tag`. Raises `PlatformConflict` while Azure works on it."""
        if kind == ENDPOINT:
            self._endpoints.tag(name, tags)
        elif kind == DEPLOYMENT:
            self._deployments.tag(name, tags, endpoint)
        else:
            raise PlatformError(f"Azure keeps no tags for a {kind}.")

    def logs(self, kind: str, name: str, *, endpoint: str = "", lines: int = 50) -> str:
        """See `Platform.logs`: both containers of an online deployment. Endpoints print nothing."""
        return logs(self._session, self._settings, endpoint, name, lines) if kind == DEPLOYMENT else ""

    def access(self, endpoint: str) -> Sequence[RoleAssignment]:
        """What the endpoint's identity needs before its first deployment; nothing if an administrator grants it."""
        return self._roles.access(endpoint)

    def render(self, deployment: OnlineDeployment) -> dict[str, Json]:
        """What will be sent for an online deployment, without secrets. Sends nothing."""
        return self._deployments.described(deployment)

    def patience(self, kind: str) -> Patience:
        """How long, and how often, to ask for a resource of that kind; `removal` for one of any kind to go."""
        azure = azure_section(self._settings)
        limits = {ENDPOINT: azure.deadlines.endpoint, DEPLOYMENT: azure.deadlines.deployment}
        limits |= {ROLE: azure.deadlines.access, REMOVAL: azure.deadlines.removal}
        return Patience(limits[kind], every(azure.poll_seconds))

    # ---- traffic

    def traffic(self, endpoint: str) -> Traffic:
        """See `Platform.traffic`."""
        return traffic_of(self._endpoints.need(endpoint))

    def set_traffic(
        self,
        endpoint: str,
        weights: Mapping[str, int],
        *,
        generation: int,
        previous: Mapping[str, int] | None = None,
    ) -> Traffic:
        """See `Platform.set_traffic`; it is in force once `get` says that the endpoint has succeeded.

        Raises `PlatformConflict` while the endpoint is being changed, `EndpointHeld` if this process held its lock and
        has lost it.
        """
        check_lease(self._session, endpoint)
        return set_traffic(
            self._endpoints, self._deployments, endpoint, weights, generation=generation, previous=previous
        )

    def hold(self, endpoint: str, *, owner: str) -> AbstractContextManager[None]:
        """See `Platform.hold`; the lock of a holder that died lapses within a minute."""
        return held(self._session, check_name(ENDPOINT, endpoint), owner)

    def invoke(
        self, endpoint: str, inputs: Mapping[str, Json], *, deployment: str = "", timeout_seconds: float = 60
    ) -> Answer:
        """See `Platform.invoke`. Raises `PlatformTimeout`, or `PlatformUnavailable` if nothing answers."""
        return self._scoring.invoke(endpoint, inputs, deployment, timeout_seconds)

    def load(self, endpoint: str, deployment: str, *, since: float) -> Load | None:  # noqa: ARG002 - the Protocol's
        """Azure counts requests too late to judge a step by: None, so the steps judge by their own requests."""
        return None

    def url(self, endpoint: str) -> str:
        """See `Platform.url`."""
        return self._scoring.url(endpoint)

    def example(self, endpoint: str, inputs: Mapping[str, Json]) -> str:
        """See `Platform.example`; the Azure CLI fetches the key."""
        return self._scoring.example(endpoint, inputs)

    # ---- models

    def find_model(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        """See `Platform.find_model`."""
        return self._models.find(prompt_flow, content_hash)

    def register_model(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        """See `Platform.register_model`."""
        return self._models.register(candidate, decision=decision, tags=tags)

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        """See `Platform.set_alias`."""
        self._models.set_alias(model, alias)

    # ---- how

    @cached_property
    def _session(self) -> Session:
        return open_session(self._settings, clock=self._clock)

    @cached_property
    def _endpoints(self) -> Endpoints:
        return Endpoints(self._session, self._settings)

    @cached_property
    def _deployments(self) -> Deployments:
        return Deployments(self._session, self._settings)

    @cached_property
    def _roles(self) -> Roles:
        return Roles(self._session, self._settings)

    @cached_property
    def _models(self) -> Models:
        return Models(self._session, self._settings)

    @cached_property
    def _scoring(self) -> Scoring:
        return Scoring(self._session, self._endpoints)
