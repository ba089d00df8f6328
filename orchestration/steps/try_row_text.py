"""A tried row as people read it, and as --json has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import indent
from typing import Any

from orchestration.evaluation.outcomes import declared
from orchestration.steps.failures import printable
from orchestration.steps.try_row import Tried
from orchestration.values import Json, as_json

MARGIN = "    "


def tried_text(tried: Tried, label: str) -> str:
    """Inputs, each node, the answer."""
    result, tokens = tried.result, tried.result.tokens
    head = "COMPLETED" if not tried.problem else "FAILED"
    used = f"{result.seconds:.2f} s, {tokens.prompt} + {tokens.completion} tokens"
    lines = [f"{head}  {tried.what} of {label}: {used}", *_field("inputs", tried.inputs)]
    for node in result.nodes:
        lines += _node(node)
    lines += _field("answer", declared(result.output)) if result.output is not None else []
    return "\n".join([*lines, tried.problem] if tried.problem else lines)


def tried_json(tried: Tried) -> dict[str, Any]:
    """The same as one object."""
    result = tried.result
    return {
        "row": tried.what,
        "status": result.status.value,
        "problem": tried.problem,
        "inputs": dict(tried.inputs),
        "output": declared(result.output),
        "error": as_json(result.error) if result.error else None,
        "seconds": result.seconds,
        "tokens": as_json(result.tokens),
        "nodes": [dict(node) for node in result.nodes],
    }


def _node(node: Mapping[str, Json]) -> list[str]:
    tokens, seconds = node.get("tokens"), node.get("seconds")
    used = tokens if isinstance(tokens, dict) and any(tokens.values()) else {}
    counted = f", {used.get('prompt', 0)} + {used.get('completion', 0)} tokens" if used else ""
    spent = f"{seconds:.2f} s" if isinstance(seconds, float | int) else ""
    lines = [f"node {node.get('name')}  {spent}{counted}"]
    for name in ("prompt", "inputs", "output", "error"):
        if node.get(name) is not None:
            lines += _field(name, node[name])
    return lines


def _field(name: str, value: Any) -> list[str]:
    text = printable(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if "\n" not in text:
        return [f"  {name:8}{text}"]
    return [f"  {name}", indent(text.rstrip(), MARGIN)]
