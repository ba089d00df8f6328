"""Online endpoints: created once, adopted ever after; their traffic and state stand in themselves and their tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestration.errors import ResourceNotFound
from orchestration.platforms.azure import render
from orchestration.platforms.azure.errors import sent, translated
from orchestration.platforms.azure.operations import failure
from orchestration.platforms.azure.resources import check_owned, check_settled, owner_tags
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.base import DELETING, FAILED, OWNER_TAG, Endpoint, Found
from orchestration.platforms.names import check_name
from orchestration.settings import Settings
from orchestration.settings.azure import SYSTEM
from orchestration.settings.azure_account import azure_section

API = "2024-04-01"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an endpoint's containers are: `client_id` only for a user-assigned identity. Empty: not known yet."""

    principal_id: str = ""
    client_id: str = ""


class Endpoints:
    """The online endpoints of one workspace."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session, self._settings = session, settings

    def read(self, name: str) -> Any | None:
        """The endpoint as azure-ai-ml has it; None only if the workspace is there and the endpoint is not."""
        try:
            with translated(f"read the endpoint {name}"):
                return self._session.ml.online_endpoints.get(name)
        except ResourceNotFound:
            self._session.details()
            return None

    def need(self, name: str) -> Any:
        """The same. Raises `ResourceNotFound`."""
        entity = self.read(name)
        if entity is None:
            where = self._session.workspace.workspace
            cure = f"Next: sluice status -e {self._settings.environment}"
            raise ResourceNotFound(f"There is no endpoint {name} in {where}.", cure=cure)
        return entity

    def create(self, wanted: Endpoint) -> None:
        """Start to create it. One of ours is adopted as it is; only a failed one is written again, with its traffic."""
        check_name(Endpoint.kind, wanted.name)
        present = self.read(wanted.name)
        if present is None:
            self.put(self._rendered(wanted))
            return
        what = f"endpoint {wanted.name}"
        check_owned(what, present.tags)
        if state(present) in FAILED:
            again = self._rendered(wanted)
            again.traffic, again.tags = present.traffic, {**again.tags, **present.tags}
            self.put(again)
        elif state(present) == DELETING:
            check_settled(what, DELETING)

    def put(self, entity: Any) -> None:
        """Write the endpoint; the service then works on it. A lost answer is settled by looking."""

        def write() -> None:
            with translated(f"write the endpoint {entity.name}"):
                self._session.ml.online_endpoints.begin_create_or_update(entity)

        def landed() -> bool:
            live = self.read(entity.name)
            if live is None or state(live) in FAILED:  # a failed one that was to be written again is still as it was
                return False
            return bool(live.tags == entity.tags and weights_of(live) == weights_of(entity))

        sent(write, landed=landed)

    def get(self, name: str) -> Found | None:
        """How it stands."""
        entity = self.read(name)
        return None if entity is None else self._found(entity, explain=True)

    def delete(self, name: str) -> None:
        """Start to delete it with all its online deployments."""
        entity = self.read(name)
        if entity is None:
            return
        check_owned(f"endpoint {name}", entity.tags)
        if state(entity) == DELETING:
            return

        def write() -> None:
            with translated(f"delete the endpoint {name}"):
                self._session.ml.online_endpoints.begin_delete(name)

        sent(write, landed=lambda: self._gone(name))

    def owned(self) -> Sequence[Found]:
        """Those of ours."""
        with translated("list the endpoints"):
            entities = list(self._session.ml.online_endpoints.list())
        return [self._found(each) for each in entities if OWNER_TAG in (each.tags or {})]

    def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Merge tags into its own: only tags are sent, so no traffic that somebody else writes is lost."""
        entity = self.need(name)
        check_owned(f"endpoint {name}", entity.tags)
        merged = {**entity.tags, **owner_tags(tags)}
        if merged == entity.tags:
            return
        check_settled(f"endpoint {name}", state(entity))
        with translated(f"tag the endpoint {name}"):
            self._session.arm("PATCH", self.arm_id(name), api_version=API, body={"tags": merged})

    def identity(self, entity: Any | None) -> Identity:
        """The identity of an endpoint's containers, as far as Azure has told it."""
        name, found = azure_section(self._settings).endpoint_identity, entity.identity if entity else None
        if name != SYSTEM:
            assigned = (found.user_assigned_identities or []) if found else []
            found = next((each for each in assigned if str(each.resource_id).lower() == name.lower()), None)
        return Identity(_said(found, "principal_id", "principalId"), _said(found, "client_id", "clientId"))

    def arm_id(self, name: str) -> str:
        """Its ID in Azure Resource Manager."""
        return f"{self._session.workspace.arm_id}/onlineEndpoints/{name}"

    def _gone(self, name: str) -> bool:
        live = self.read(name)
        return live is None or state(live) == DELETING

    def _rendered(self, wanted: Endpoint) -> Any:
        return render.endpoint(self._settings, replace(wanted, tags=owner_tags(wanted.tags)))

    def _found(self, entity: Any, *, explain: bool = False) -> Found:
        current = state(entity)
        message = failure(self._session, entity) if explain and current in FAILED else ""
        return Found(Endpoint.kind, entity.name, current, message, dict(entity.tags or {}))


def state(entity: Any) -> str:
    """Azure's word for how an endpoint or an online deployment stands."""
    found = entity.provisioning_state or "Unknown"
    return str(getattr(found, "value", found))


def weights_of(entity: Any) -> dict[str, int]:
    """The deployments of an endpoint that have traffic, with their percentages."""
    return {name: int(weight) for name, weight in (entity.traffic or {}).items() if int(weight)}


def _said(identity: Any, *names: str) -> str:
    """A value of an identity: azure-ai-ml 1.35 reads those of user-assigned ones under the names of the wire."""
    return next((str(value) for name in names if (value := getattr(identity, name, None))), "")
