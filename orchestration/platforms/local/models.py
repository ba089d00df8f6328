"""What the local platform needs of a registry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from orchestration.values import Candidate, ModelVersion


class Models(Protocol):
    """The registry that a platform composes: `registry.LocalRegistry`, unless another is given."""

    def find_model(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        """See `Platform.find_model`."""

    def register_model(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        """See `Platform.register_model`."""

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        """See `Platform.set_alias`."""

    def folder(self, model: ModelVersion) -> Path:
        """The prompt flow's files."""

    def verify(self, model: ModelVersion) -> None:
        """Raises a `PlatformError` if it is not registered, or its files are not what was registered."""
