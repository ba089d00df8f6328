"""Writes docs/configuration.md from the schemas that check the files: `python -m orchestration.cli.reference`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestration.settings import SettingsFile
from orchestration.specs import PromptFlowSpec
from orchestration.validation import PATTERNS

TARGET = Path("docs/configuration.md")
HEAD = """# Configuration

Written by `python -m orchestration.cli.reference` from the schemas that check the files; a test compares them.

| file | says | checked by |
|---|---|---|
| `config/base.yaml` | what holds in every environment | `sluice config check` |
| `config/<environment>.yaml` | what is different in one environment | `sluice config show -e <environment>` |
| `flows/<name>/sluice.yaml` | what Sluicegate needs to know of a prompt flow | `sluice doctor` |
| `flows/<name>/run.yml`, `run_evaluation.yml` | data, column mapping and variant, as prompt flow has them | `sluice doctor` |
| `.env` | keys and addresses, never in git | `sluice connections list` |

What is set in several places counts in this order: command line, block `sluice-environment/<environment>`,
`config/<environment>.yaml`, `config/base.yaml`, default. Keys are merged, lists are replaced; a connection that names its
`kind` replaces the whole entry below it. Unknown keys and wrong types are refused with file, line and key.

Where a value may be a reference it is `{env: NAME}` (an environment variable, or a line of `.env`), `{file: PATH}`,
`{block: TYPE/NAME}` or `{block: TYPE/NAME/FIELD}` (a Prefect block). Keys themselves never stand in these files.
"""
SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("`config/base.yaml` and `config/<environment>.yaml`", SettingsFile),
    ("`flows/<name>/sluice.yaml`", PromptFlowSpec),
)
TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": ""}
BOUNDS = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
REFERENCE = "Reference"

Schema = Mapping[str, Any]


def reference() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(title, model) for title, model in SECTIONS)])


def _section(title: str, model: type[BaseModel]) -> str:
    whole = model.model_json_schema(by_alias=True)
    rows = [f"| `{key}` | {kind} | {default} | {text} |" for key, kind, default, text in _rows(whole, whole, "")]
    return "\n".join([f"## {title}\n", "| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _rows(whole: Schema, node: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    for name, given in node.get("properties", {}).items():
        key, schema = f"{path}{name}", _merged(whole, given)
        inner, suffix = _inner(whole, schema)
        below = list(_rows(whole, inner, f"{key}{suffix}.")) if inner is not None else []
        if not (below and isinstance(given.get("default"), dict)) or suffix:
            yield key, _type(whole, schema), _default(node, name, given), _text(given)
        yield from below


def _inner(whole: Schema, schema: Schema) -> tuple[Schema | None, str]:
    """The schema of the keys below, and how the path goes on: `.<name>` in a mapping, `[]` in a list."""
    for member in schema.get("anyOf", (schema,)):
        one = _merged(whole, member)
        if one.get("title") != REFERENCE and "properties" in one:
            return one, ""
        below = next(iter(one.get("patternProperties", {}).values()), one.get("additionalProperties"))
        if isinstance(below, Mapping) and "properties" in _merged(whole, below) and _title(whole, below) != REFERENCE:
            return _merged(whole, below), ".<name>"
        if "items" in one and "properties" in _merged(whole, one["items"]):
            return _merged(whole, one["items"]), "[]"
    return None, ""


def _merged(whole: Schema, schema: Schema) -> Schema:
    """The schema with the one that it refers to."""
    if "$ref" not in schema:
        return schema
    referred = whole["$defs"][schema["$ref"].rpartition("/")[2]]
    return {**referred, **{key: value for key, value in schema.items() if key != "$ref"}}


def _title(whole: Schema, schema: Schema) -> str:
    return str(_merged(whole, schema).get("title", ""))


def _type(whole: Schema, schema: Schema) -> str:
    members = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if members:
        kinds = dict.fromkeys(_type(whole, _merged(whole, member)) for member in members)
        return " or ".join(kind for kind in kinds if kind)
    if schema.get("title") == REFERENCE:
        return "reference"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    return _plain_type(whole, schema)


def _plain_type(whole: Schema, schema: Schema) -> str:
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {_type(whole, _merged(whole, schema.get('items', {})))}"
    if kind == "object":
        below = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
        inner = _type(whole, _merged(whole, below)) if isinstance(below, Mapping) and below else "keys"
        return "keys" if inner == "keys" else f"names, each with {inner}"
    bounds = [f"{sign} {schema[name]:g}" for name, sign in BOUNDS if name in schema]
    pattern = PATTERNS.get(str(schema.get("pattern", "")), f"`{schema['pattern']}`" if "pattern" in schema else "")
    return " ".join(part for part in (TYPES.get(kind, kind), ", ".join(bounds), pattern and f"({pattern})") if part)


def _default(node: Schema, name: str, given: Schema) -> str:
    if name in node.get("required", ()):
        return "required"
    value = given.get("default")
    return "" if value is None or isinstance(value, dict) else f"`{json.dumps(value)}`"


def _text(given: Schema) -> str:
    return " ".join(str(given.get("description", "")).split()).replace("|", "\\|")


def main() -> int:
    """Write the page into the project that the current folder belongs to."""
    TARGET.write_text(reference(), encoding="utf-8")
    sys.stderr.write(f"Wrote {TARGET}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
