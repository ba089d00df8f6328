"""The answer to a sample request, held against the schema that sluice.yaml gives for it."""

from __future__ import annotations

from collections.abc import Mapping

import jsonschema

from orchestration.values import Json


def answer_problem(answer: Json, schema: Mapping[str, object]) -> str:
    """Why the answer doesn't have the expected shape; empty if it has."""
    try:
        jsonschema.validate(answer, dict(schema))
    except jsonschema.ValidationError as error:
        at = "/".join(str(part) for part in error.absolute_path)
        return f"{'at ' + at + ': ' if at else ''}{error.message}"
    return ""
