"""Registered prompt flows: one model version per content, named by it, so that repeats and races end at the same one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from orchestration.errors import PlatformUnavailable, ResourceNotFound, ResourceRefused
from orchestration.platforms.azure import render
from orchestration.platforms.azure.errors import sent, translated
from orchestration.platforms.azure.faults import AGAIN
from orchestration.platforms.azure.render import VERSION_LENGTH
from orchestration.platforms.azure.resources import check_owned, owner_tags
from orchestration.platforms.azure.uploads import upload
from orchestration.platforms.azure.workspace import Session
from orchestration.settings import Settings
from orchestration.values import Candidate, ModelVersion

CONTENT: Final = "content"
DECISION: Final = "decision"


class Models:
    """The model registry of one workspace."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session, self._settings = session, settings

    def find(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        """The registered version with this content. Raises `ResourceRefused` if its name has other content."""
        entity = self._read(prompt_flow, content_hash[:VERSION_LENGTH])
        return None if entity is None else _version(entity, content_hash)

    def register(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        """Register the content; what is registered already is not sent again."""
        found = self.find(candidate.prompt_flow, candidate.content_hash)
        if found is not None:
            return found
        own = {
            "prompt_flow": candidate.prompt_flow,
            CONTENT: candidate.content_hash,
            "commit": candidate.commit,
            "dirty": str(candidate.dirty).lower(),
            "data": candidate.data_hash,
            "rules": candidate.rules_hash,
            DECISION: decision,
        }
        self._send(candidate, owner_tags({**tags, **own}))
        found = self.find(candidate.prompt_flow, candidate.content_hash)
        if found is None:  # readings may be older than a moment ago
            what = f"{candidate.prompt_flow} {candidate.content_hash[:VERSION_LENGTH]}"
            raise PlatformUnavailable(f"{what} was registered, and Azure does not show it yet.", cure=AGAIN)
        return found

    def verify(self, model: ModelVersion) -> None:
        """Raises `ResourceNotFound` if it is not registered, `ResourceRefused` if its name has other content."""
        self._need(model.name, model.content_hash)

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        """Note on the version since when the environment has it: the latest note is the one in force."""
        entity = self._read(model.name, model.version)
        if entity is None:
            raise ResourceNotFound(f"{model.name} {model.version} is not registered.", cure=AGAIN)
        check_owned(f"model {model.name} {model.version}", entity.tags)
        entity.tags = {**entity.tags, f"alias.{alias}": datetime.now(UTC).isoformat(timespec="seconds")}
        with translated(f"set the alias {alias} of {model.name} {model.version}"):
            self._session.ml.models.create_or_update(entity)

    def _send(self, candidate: Candidate, tags: Mapping[str, str]) -> None:
        with render.model(self._settings, candidate) as entity:
            entity.tags = {**(entity.tags or {}), **tags}
            entity.path = upload(self._session, Path(str(entity.path))).uri

            def write() -> None:
                with translated(f"register {entity.name} {entity.version}"):
                    self._session.ml.models.create_or_update(entity)

            # A conflict: somebody else was faster, and it is the same version if the content is the same.
            sent(write, landed=lambda: self.find(candidate.prompt_flow, candidate.content_hash) is not None)

    def _need(self, name: str, content_hash: str) -> ModelVersion:
        found = self.find(name, content_hash)
        if found is None:
            what = f"{name} {content_hash[:VERSION_LENGTH]} with this content"
            raise ResourceNotFound(f"{what} is not registered.", cure=AGAIN)
        return found

    def _read(self, name: str, version: str) -> Any | None:
        try:
            with translated(f"read the model {name} {version}"):
                return self._session.ml.models.get(name, version)
        except ResourceNotFound:
            self._session.details()
            return None


def _version(entity: Any, content_hash: str) -> ModelVersion:
    tags = entity.tags or {}
    check_owned(f"model {entity.name} {entity.version}", tags)
    if tags.get(CONTENT) != content_hash:
        raise ResourceRefused(
            f"The model {entity.name} {entity.version} has other content than its name says.",
            cure=f"Archive it: az ml model archive -n {entity.name} -v {entity.version}",
        )
    return ModelVersion(entity.name, str(entity.version), content_hash, tags.get(DECISION, ""), str(entity.id))
