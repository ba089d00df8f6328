"""Online deployments: named by what they serve, created at 0 %, never changed into something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestration.errors import PlatformConflict, ResourceNotFound, ResourceRefused
from orchestration.platforms.azure import render
from orchestration.platforms.azure.endpoints import API, Endpoints, state, weights_of
from orchestration.platforms.azure.errors import sent, translated
from orchestration.platforms.azure.faults import AGAIN
from orchestration.platforms.azure.models import Models
from orchestration.platforms.azure.operations import failure
from orchestration.platforms.azure.resources import check_owned, check_settled, owner_tags
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.base import DELETING, FAILED, OWNER_TAG, RUNTIME_TAG, Found, OnlineDeployment
from orchestration.platforms.names import check_name
from orchestration.settings import Settings
from orchestration.settings.azure import SYSTEM
from orchestration.settings.azure_account import azure_section
from orchestration.values import Json

IDENTITY = ("content", "binding", "variant")  # the tags that say what a deployment serves


class Deployments:
    """The online deployments of one workspace."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session, self._settings = session, settings
        self._endpoints = Endpoints(session, settings)

    def read(self, name: str, endpoint: str) -> Any | None:
        """The deployment as azure-ai-ml has it; None only if the workspace is there and the deployment is not."""
        try:
            with translated(f"read the online deployment {endpoint}/{name}"):
                return self._session.ml.online_deployments.get(name, endpoint)
        except ResourceNotFound:
            self._session.details()
            return None

    def create(self, wanted: OnlineDeployment) -> None:
        """Start to create it at 0 %. One of ours that serves the same is adopted, with the tags given now."""
        check_name(OnlineDeployment.kind, wanted.name)
        wanted = _tagged(wanted)
        present = self.read(wanted.name, wanted.endpoint)
        if present is None or self._is_to_be_made_anew(present, wanted):
            self._start(wanted)
        else:
            self.tag(wanted.name, wanted.tags, wanted.endpoint)

    def described(self, wanted: OnlineDeployment) -> dict[str, Json]:
        """What will be sent, in the schema of Azure ML's command line, without secrets."""
        return render.described(self._settings, _tagged(wanted), client_id=self._client_id(wanted.endpoint))

    def get(self, name: str, endpoint: str) -> Found | None:
        """How it stands."""
        entity = self.read(name, endpoint)
        return None if entity is None else self._found(entity, explain=True)

    def delete(self, name: str, endpoint: str) -> None:
        """Start to delete it. Raises `PlatformConflict` while it has traffic."""
        entity = self.read(name, endpoint)
        if entity is None:
            return
        what = f"online deployment {endpoint}/{name}"
        check_owned(what, entity.tags)
        if state(entity) == DELETING:
            return
        weight = weights_of(self._endpoints.need(endpoint)).get(name, 0)
        if weight:
            raise PlatformConflict(f"The {what} has {weight} % of the traffic.", cure="Move it first.")

        def write() -> None:
            with translated(f"delete the {what}"):
                self._session.ml.online_deployments.begin_delete(name, endpoint)

        sent(write, landed=lambda: self._gone(name, endpoint))

    def owned(self, endpoint: str = "") -> Sequence[Found]:
        """Those of ours: of one endpoint, or of every endpoint of ours."""
        names = [endpoint] if endpoint else [each.name for each in self._endpoints.owned()]
        return [self._found(each) for name in names for each in self._list(name) if OWNER_TAG in (each.tags or {})]

    def tag(self, name: str, tags: Mapping[str, str], endpoint: str) -> None:
        """Merge tags into its own: only tags are sent, so that nothing else of it changes."""
        entity, what = self.read(name, endpoint), f"online deployment {endpoint}/{name}"
        if entity is None:
            raise ResourceNotFound(f"There is no {what}.", cure=AGAIN)
        check_owned(what, entity.tags)
        merged = {**entity.tags, **owner_tags(tags)}
        if merged == entity.tags:
            return
        check_settled(what, state(entity))
        path = f"{self._endpoints.arm_id(endpoint)}/deployments/{name}"
        with translated(f"tag the {what}"):
            self._session.arm("PATCH", path, api_version=API, body={"tags": merged})

    def _is_to_be_made_anew(self, present: Any, wanted: OnlineDeployment) -> bool:
        """Whether what is there is ours and has failed. Raises for what is in the way."""
        what = f"online deployment {wanted.endpoint}/{wanted.name}"
        check_owned(what, present.tags)
        if state(present) == DELETING:
            check_settled(what, DELETING)
        if any(present.tags.get(key) != wanted.tags[key] for key in IDENTITY):
            raise ResourceRefused(f"The {what} serves something else.", cure="Delete it first, or use another name.")
        return state(present) in FAILED

    def _start(self, wanted: OnlineDeployment) -> None:
        what = f"online deployment {wanted.endpoint}/{wanted.name}"
        endpoint = self._endpoints.need(wanted.endpoint)
        check_settled(f"endpoint {wanted.endpoint}", state(endpoint))
        Models(self._session, self._settings).verify(wanted.model)
        entity = render.deployment(self._settings, wanted, client_id=self._endpoints.identity(endpoint).client_id)
        entity.environment = render.environment(self._session, self._settings, wanted)

        def write() -> None:
            with translated(f"create the {what}"):
                self._session.ml.online_deployments.begin_create_or_update(entity, skip_script_validation=True)

        sent(write, landed=lambda: self._serves(wanted))

    def _client_id(self, endpoint: str) -> str:
        """Of the endpoint's user-assigned identity, which has one once the endpoint is there."""
        if azure_section(self._settings).endpoint_identity == SYSTEM:
            return ""
        return self._endpoints.identity(self._endpoints.read(endpoint)).client_id

    def _serves(self, wanted: OnlineDeployment) -> bool:
        live = self.read(wanted.name, wanted.endpoint)
        if live is None or state(live) in FAILED:  # a failed one that was to be made anew is still the old one
            return False
        return all(live.tags.get(key) == wanted.tags[key] for key in IDENTITY)

    def _gone(self, name: str, endpoint: str) -> bool:
        live = self.read(name, endpoint)
        return live is None or state(live) == DELETING

    def _list(self, endpoint: str) -> list[Any]:
        try:
            with translated(f"list the online deployments of {endpoint}"):
                return list(self._session.ml.online_deployments.list(endpoint))
        except ResourceNotFound:
            self._session.details()
            return []

    def _found(self, entity: Any, *, explain: bool = False) -> Found:
        current = state(entity)
        message = failure(self._session, entity) if explain and current in FAILED else ""
        return Found(OnlineDeployment.kind, entity.name, current, message, dict(entity.tags or {}))


def _tagged(wanted: OnlineDeployment) -> OnlineDeployment:
    """With the tags that say what it serves; an interpreter on this machine says nothing on Azure."""
    given = {name: value for name, value in wanted.tags.items() if name != RUNTIME_TAG}
    serves = (wanted.model.content_hash, wanted.binding.binding_hash, wanted.variant or "none")
    return replace(wanted, tags=owner_tags(given | dict(zip(IDENTITY, serves, strict=True))))
