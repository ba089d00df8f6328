"""Inputs of a served request: coerced by their declared type, and described as OpenAPI."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Declared = Mapping[str, Mapping[str, Any]]
SCHEMA_TYPES = {
    "int": "integer",
    "double": "number",
    "bool": "boolean",
    "string": "string",
    "list": "array",
    "object": "object",
}


class BadInput(Exception):
    """The caller's inputs are wrong: `code` is one word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


def coerce(inputs: Mapping[str, Any], declared: Declared) -> dict[str, Any]:
    """The inputs with each declared one turned into its type, as prompt flow's own server does.

    So "3" is an int, "true" a bool, JSON text a list or an object, and anything a string. Undeclared inputs
    are passed on. Raises `BadInput` for missing inputs and for what can't be turned.
    """
    missing = [name for name, spec in declared.items() if "default" not in spec and name not in inputs]
    if missing:
        raise BadInput("MissingInput", f"missing input: {', '.join(missing)}")
    return {name: _turn(name, value, declared[name]) if name in declared else value for name, value in inputs.items()}


def _turn(name: str, value: Any, spec: Mapping[str, Any]) -> Any:
    turn = _TURN.get(str(spec.get("type")))
    if turn is None:
        return value
    try:
        return turn(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        shown = json.dumps(value)[:80]
        raise BadInput("BadInput", f"input {name} must be {spec['type']}, not {shown}: {error}") from None


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("neither true nor false")


def _list(value: Any) -> list[Any]:
    parsed = json.loads(value) if isinstance(value, str) else value
    if not isinstance(parsed, list):
        raise ValueError("not a list")  # noqa: TRY004 - becomes BadInput
    return parsed


def _object(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value  # it may really be text
    return value


_TURN: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "double": float,
    "bool": _bool,
    "string": str,
    "list": _list,
    "object": _object,
}


def openapi(name: str, inputs: Declared, outputs: Declared) -> dict[str, Any]:
    """The OpenAPI description of `POST /score`."""
    body = {"required": True, "content": _json(_schema(inputs, required=True))}
    answers = {
        "200": {"description": "The outputs.", "content": _json(_schema(outputs, required=False))},
        "400": {"description": "The inputs are wrong."},
        "500": {"description": "The prompt flow failed."},
    }
    score = {"summary": f"Run {name}", "requestBody": body, "responses": answers}
    return {
        "openapi": "3.0.0",
        "info": {"title": name, "version": "1.0.0"},
        "components": {"securitySchemes": {"bearerAuth": {"type": "http", "scheme": "bearer"}}},
        "security": [{"bearerAuth": []}],
        "paths": {"/score": {"post": score}},
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _schema(declared: Declared, *, required: bool) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": {k: _property(v) for k, v in declared.items()}}
    needed = [name for name, spec in declared.items() if "default" not in spec]
    return schema | {"required": needed} if required and needed else schema


def _property(spec: Mapping[str, Any]) -> dict[str, Any]:
    kind = SCHEMA_TYPES.get(str(spec.get("type")))
    schema: dict[str, Any] = {"type": kind} if kind else {}
    if kind == "array":
        schema["items"] = {}
    return schema | ({"default": spec["default"]} if "default" in spec else {})
