"""The model registry of one machine: MLflow's, with the files beside it, addressed by their content."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from orchestration.errors import PlatformError, ResourceNotFound, ResourceRefused
from orchestration.platforms.base import OWNER_TAG
from orchestration.tracking import peek
from orchestration.tracking.ledger import DECISION_TAG
from orchestration.tracking.model_folder import FLOW, MANIFEST, check_model_folder, write_model_folder
from orchestration.tracking.store import connected, local_store
from orchestration.values import Candidate, ModelVersion

CONTENT_TAG: Final = "sluice.content_hash"
MANIFEST_TAG: Final = "sluice.manifest"
LONGEST_TAG: Final = 5000
UNFINISHED: Final = ".unfinished"  # one name is enough: whoever writes holds the store's lock


class LocalRegistry:
    """One registered model per prompt flow, one version per content, in the MLflow store of a state folder."""

    def __init__(self, state: Path) -> None:
        self._store = local_store(state)
        self._models = self._store.lock.parent / "artifacts" / "models"

    def find_model(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        """The registered version with this content, if there is one and its files are there."""
        if self._store.empty or not (self._folder(prompt_flow, content_hash) / MANIFEST).is_file():
            return None
        found: Any = peek.find_version(self._store, prompt_flow, CONTENT_TAG, content_hash)
        if found is None:
            with connected(self._store, f"look for {prompt_flow} in the registry") as client:
                found = self._find(client, prompt_flow, content_hash)
        return self._version(found) if found else None

    def register_model(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        """Register the candidate's content; the same content is the same version, also under races.

        A version whose files were changed since gets them anew. Raises `ResourceRefused` if a registered model of
        the prompt flow's name is not ours, `PlatformError` if the candidate's files are not what was judged.
        """
        with connected(self._store, f"register {candidate.prompt_flow}") as client, self._store.hold():
            found = self._find(client, candidate.prompt_flow, candidate.content_hash)
            if found is None:
                self._ensure_registered_model(client, candidate.prompt_flow)
                found = self._create(client, candidate, {**tags, DECISION_TAG: decision})
            elif not self._intact(found):
                manifest = self._write(candidate)
                client.set_model_version_tag(found.name, found.version, MANIFEST_TAG, manifest)
        return self._version(found)

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        """Point an environment's alias at the version: for people, never read by code."""
        with connected(self._store, f"set the alias {alias} of {model.name}") as client:
            client.set_registered_model_alias(model.name, alias, model.version)

    def model_folder(self, model: ModelVersion) -> Path:
        """The MLflow model: what `mlflow.pyfunc.load_model` takes."""
        return self._folder(model.name, model.content_hash)

    def folder(self, model: ModelVersion) -> Path:
        """The prompt flow's files, as they are served."""
        return self.model_folder(model) / FLOW

    def verify(self, model: ModelVersion) -> None:
        """Raises `ResourceNotFound` if it is not registered, `PlatformError` if one byte of its files has changed."""
        with connected(self._store, f"verify {model.name} {model.version}") as client:
            found = self._find(client, model.name, model.content_hash)
        if found is None or str(found.version) != model.version:
            raise ResourceNotFound(f"{model.name} {model.version} with this content is not registered.")
        check_model_folder(self.model_folder(model), found.tags.get(MANIFEST_TAG, ""))

    def _find(self, client: Any, prompt_flow: str, content_hash: str) -> Any | None:
        query = f"name = '{prompt_flow}' and tags.`{CONTENT_TAG}` = '{content_hash}'"
        found = client.search_model_versions(query, order_by=["version_number ASC"])
        return found[0] if found else None

    def _ensure_registered_model(self, client: Any, name: str) -> None:
        found = next(iter(client.search_registered_models(f"name = '{name}'", max_results=1)), None)
        if found is None:
            client.create_registered_model(name, tags={OWNER_TAG: name})
        elif OWNER_TAG not in found.tags:
            raise ResourceRefused(
                f"The registered model {name} was not made by Sluicegate.", cure="Rename the prompt flow or the model."
            )

    def _create(self, client: Any, candidate: Candidate, tags: Mapping[str, str]) -> Any:
        manifest = self._write(candidate)
        own = {CONTENT_TAG: candidate.content_hash, MANIFEST_TAG: manifest, OWNER_TAG: candidate.prompt_flow}
        described = {
            "sluice.commit": candidate.commit,
            "sluice.dirty": str(candidate.dirty).lower(),
            "sluice.data_hash": candidate.data_hash,
            "sluice.evaluator_hash": candidate.evaluator_hash,
            "sluice.rules_hash": candidate.rules_hash,
            "sluice.lock_hash": candidate.lock_hash,
        }
        source = self._folder(candidate.prompt_flow, candidate.content_hash).as_uri()
        texts = {key: str(value)[:LONGEST_TAG] for key, value in {**described, **tags, **own}.items()}
        return client.create_model_version(candidate.prompt_flow, source, tags=texts, await_creation_for=0)

    def _write(self, candidate: Candidate) -> str:
        """Write the files aside and move them into their place; what lies there belongs to no intact version."""
        place = self._folder(candidate.prompt_flow, candidate.content_hash)
        aside = place.with_name(UNFINISHED)
        for left in (aside, place):
            if left.exists():
                shutil.rmtree(left)
        manifest = write_model_folder(candidate, aside)
        aside.rename(place)
        return manifest

    def _intact(self, found: Any) -> bool:
        try:
            manifest = found.tags.get(MANIFEST_TAG, "")  # whoever may write to the registry may have removed it
            check_model_folder(self._folder(found.name, found.tags[CONTENT_TAG]), manifest)
        except PlatformError:
            return False
        return True

    def _version(self, found: Any) -> ModelVersion:
        content = found.tags[CONTENT_TAG]
        uri = self._folder(found.name, content).as_uri()
        return ModelVersion(found.name, str(found.version), content, found.tags.get(DECISION_TAG, ""), uri)

    def _folder(self, name: str, content_hash: str) -> Path:
        return self._models / name / content_hash
