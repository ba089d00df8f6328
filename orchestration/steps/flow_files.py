"""What can be read from a prompt flow's files without its framework: for estimates and early hints only.

What a flow really takes and gives is said by its runner; where the files don't tell, the answer here is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from orchestration.yaml_files import is_too_large

DAG, FLEX, PROMPTY = "flow.dag.yaml", "flow.flex.yaml", "*.prompty"
MODEL_NODES = frozenset({"llm", "custom_llm"})
VARIANT = re.compile(r"\$\{([^.{}]+)\.([^.{}]+)\}")
FRONT_MATTER = re.compile(r"\A\s*---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)


def definition(folder: Path) -> Mapping[str, Any] | None:
    """The YAML that defines the flow; None if there is none, or it can't be read."""
    for name in (DAG, FLEX):
        if (folder / name).is_file():
            return _mapping((folder / name).read_text(encoding="utf-8", errors="replace"))
    for path in sorted(folder.glob(PROMPTY))[:1]:
        found = FRONT_MATTER.match(path.read_text(encoding="utf-8", errors="replace"))
        return _mapping(found[1]) if found else None
    return None


def model_calls(folder: Path, variant: str | None = None) -> int | None:
    """How often one row calls a model at least, as far as the files say it; None if they don't."""
    data = definition(folder)
    if data is None or (folder / FLEX).is_file():
        return None
    if not (folder / DAG).is_file():
        return 1
    return sum(node.get("type") in MODEL_NODES for node in _nodes(data, variant))


def declared_inputs(folder: Path) -> Mapping[str, Mapping[str, Any]] | None:
    """The flow's inputs by name, `default` among what is said of each; None if the files don't declare them."""
    return _specs(definition(folder), "inputs")


def declared_outputs(folder: Path) -> list[str]:
    """The names of the outputs that the files declare; empty if they don't."""
    return list(_specs(definition(folder), "outputs") or ())


def sample_inputs(folder: Path) -> dict[str, Any]:
    """Inputs that the author wrote down as an example: a `sample`, else the defaults."""
    sample = (definition(folder) or {}).get("sample")
    if isinstance(sample, Mapping):
        given = sample.get("inputs", {} if "init" in sample else sample)
        if isinstance(given, Mapping) and given:
            return dict(given)
    return {name: spec["default"] for name, spec in (declared_inputs(folder) or {}).items() if "default" in spec}


def variants(folder: Path) -> list[str]:
    """The variants that the flow has, as `--variant` takes them."""
    found = (definition(folder) or {}).get("node_variants")
    nodes = found if isinstance(found, Mapping) else {}
    return [f"${{{node}.{name}}}" for node, each in nodes.items() for name in (each or {}).get("variants") or ()]


def named_connections(folder: Path) -> list[str]:
    """The connections that the files name, in their order."""
    return list(dict.fromkeys(_connections(definition(folder) or {})))


def connection_overrides(
    folder: Path, named: Mapping[str, Mapping[str, str]], variant: str | None = None
) -> dict[str, dict[str, str]]:
    """What `named` says of connections, by the nodes that use them, as prompt flow's runs take it.

    A node that calls a model has its `connection` and `deployment_name`; in any other one an input whose text is a
    connection's name is taken for that connection.
    """
    found: dict[str, dict[str, str]] = {}
    for node in _nodes(definition(folder) or {}, variant):
        given = dict(named.get(str(node.get("connection")), {}))
        if "connection" not in node:
            inputs = node.get("inputs") or {}
            texts = {name: value for name, value in inputs.items() if isinstance(value, str) and value in named}
            given = {name: named[value]["connection"] for name, value in texts.items()}
        if given:
            found[str(node.get("name"))] = given
    return found


def _nodes(data: Mapping[str, Any], variant: str | None) -> Iterator[Mapping[str, Any]]:
    """The nodes as they run, each with its chosen variant in its place."""
    chosen = VARIANT.fullmatch(variant or "")
    for node in data.get("nodes") or ():
        if not isinstance(node, Mapping):
            continue
        if not node.get("use_variants"):
            yield node
            continue
        variants = (data.get("node_variants") or {}).get(node.get("name")) or {}
        name = chosen[2] if chosen and chosen[1] == node.get("name") else variants.get("default_variant_id")
        picked = ((variants.get("variants") or {}).get(name) or {}).get("node") or {}
        yield {"name": node.get("name"), **picked}


def _connections(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "connection" and isinstance(item, str) and not item.startswith("$"):
                yield item
            else:
                yield from _connections(item)
    elif isinstance(value, list):
        for item in value:
            yield from _connections(item)


def _specs(data: Mapping[str, Any] | None, key: str) -> Mapping[str, Mapping[str, Any]] | None:
    found = (data or {}).get(key)
    if not isinstance(found, Mapping):
        return None
    return {str(name): spec if isinstance(spec, Mapping) else {"default": spec} for name, spec in found.items()}


def _mapping(text: str) -> Mapping[str, Any] | None:
    try:
        data = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        return None
    return data if isinstance(data, Mapping) and not is_too_large(data) else None
