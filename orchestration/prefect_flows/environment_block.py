"""Blocks as the steps see them: an environment's overrides as settings, secrets by reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from pydantic import Secret as PydanticSecret
from pydantic import SecretStr

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
    """A value in a block: `type/name` for what that type is there to keep, `type/name/field` for another of its fields.

    None if there is no such block, type or field, and for a field that is no text.
    """
    kind, _, rest = reference.partition("/")
    name, _, field = rest.partition("/")
    if kind not in TYPES:
        return None
    block_type, kept = TYPES[kind]
    block = _find(block_type(), name)
    value = getattr(block, field or kept) if block is not None and (field or kept) in type(block).model_fields else None
    if isinstance(value, SecretStr | PydanticSecret):
        value = value.get_secret_value()
    return value if isinstance(value, str) else None


def _azure_ml() -> type[Block]:
    from prefect_azure.credentials import AzureMlCredentials  # noqa: PLC0415 - half a second, for Azure only

    return cast("type[Block]", AzureMlCredentials)


# The types that may be referred to, and the field of each that is meant where none is named.
TYPES: Mapping[str, tuple[Callable[[], type[Block]], str]] = {
    LLM: (lambda: LLMConnection, "api_key"),
    "secret": (lambda: Secret, "value"),
    "azureml-credentials": (_azure_ml, "service_principal_password"),
}


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
