"""Prefect blocks: settings and secrets that people keep in the Prefect UI. Register: `prefect block register -f blocks/__init__.py`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr


class LLMConnection(Block):
    """The key of a model provider, under the name by which prompt flows use it."""

    _block_type_name: ClassVar[str] = "LLM Connection"
    _block_type_slug: ClassVar[str] = "llm-connection"
    _description: ClassVar[str] = "Where a prompt flow's model is, and the key to it."

    kind: Literal["azure_openai", "openai"] = Field(default="azure_openai", description="The provider's wire format.")
    api_base: str | None = Field(default=None, description="Address of the provider; empty: as configured.")
    api_key: SecretStr = Field(default=SecretStr(""), description="The key to the provider.")
    api_version: str | None = Field(default=None, description="Azure OpenAI only.")
    model_deployment: str | None = Field(default=None, description="Name of the deployed model; empty: as configured.")


class SluiceEnvironment(Block):
    """Overrides of an environment's settings, and references to the blocks that hold its keys."""

    _block_type_name: ClassVar[str] = "Sluice Environment"
    _block_type_slug: ClassVar[str] = "sluice-environment"
    _description: ClassVar[str] = "Settings of one environment; they win over config/<environment>.yaml."

    overrides: dict[str, Any] = Field(
        default_factory=dict, description='Keys as in config/<environment>.yaml, e.g. {"rollout": {"steps": [100]}}.'
    )
    connections: dict[str, str] = Field(
        default_factory=dict, description="Connection name to the name of an LLM Connection block that holds its key."
    )
