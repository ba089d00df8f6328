"""Blocks as the steps see them: an environment's overrides as settings, secrets by reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from prefect.blocks.core import Block

from blocks import LLMConnection, SluiceEnvironment

B = TypeVar("B", bound=Block)
LLM = "llm-connection"


def load(environment: str) -> Mapping[str, Any] | None:
    """The overrides of the block `sluice-environment/<environment>`, or None when there is no such block.

    What its LLM Connection blocks say is merged in, but for their keys: those stay references.
    """
    block = _find(SluiceEnvironment, environment)
    if block is None:
        return None
    settings = dict(block.overrides)
    connections = dict(settings.get("connections", {}))
    for name, document in block.connections.items():
        connections[name] = _connection(document)
    return {**settings, "connections": connections} if connections else settings


def secret(reference: str) -> str | None:
    """The key in an LLM Connection block, `llm-connection/<name>`; None if there is no such block."""
    kind, _, name = reference.partition("/")
    block = _find(LLMConnection, name) if kind == LLM else None
    return block.api_key.get_secret_value() if block is not None else None


def _connection(document: str) -> dict[str, Any]:
    block = _find(LLMConnection, document)
    said = block.model_dump(include={"kind", "api_base", "api_version", "model_deployment"}) if block else {}
    return {name: value for name, value in said.items() if value} | {"api_key": {"block": f"{LLM}/{document}"}}


def _find(kind: type[B], name: str) -> B | None:
    try:
        return cast("B", kind.load(name))
    except ValueError as error:  # Prefect has no narrower one for it
        if "Unable to find block document" not in str(error):
            raise
        return None
