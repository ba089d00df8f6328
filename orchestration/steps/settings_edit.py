"""Changing one entry of a `config/*.yaml` that a person wrote: every other line stays to the letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from textwrap import indent
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestration.errors import ConfigurationError, Place
from orchestration.yaml_files import YamlFile, parse_yaml, read_yaml

CONNECTIONS = "connections"
WIDEST = 4096  # longer lines would be broken


def with_connection(root: Path, environment: str, name: str, entry: Mapping[str, Any]) -> str:
    """The text of `config/<environment>.yaml` with this connection in place of the one of the same name.

    Raises `ConfigurationError` if the file is written in a way in which that can't be done safely.
    """
    file = read_yaml(root / "config" / f"{environment}.yaml", root=root)
    text = _edited(file, name, entry)
    wanted = {**file.data, CONNECTIONS: {**(file.data.get(CONNECTIONS) or {}), name: dict(entry)}}
    try:
        same = parse_yaml(text, name=file.name).data == wanted
    except ConfigurationError:
        same = False
    if not same:
        message = "can't be changed without a risk to what stands there."
        raise ConfigurationError(message, at=Place(file.name), cure=f"Write connections.{name} into it by hand.")
    return text


def _edited(file: YamlFile, name: str, entry: Mapping[str, Any]) -> str:
    lines = file.text.splitlines()
    found = _child(YAML(typ="safe", pure=True).compose(file.text), CONNECTIONS)
    if found is None:
        return _joined([*lines, *([""] if file.text.strip() else []), *_dumped({CONNECTIONS: {name: entry}})])
    key, value = found
    if isinstance(value, MappingNode) and not value.flow_style and value.value:
        return _joined(_in_block(lines, value, name, entry))
    every = {**(file.data[CONNECTIONS] or {}), name: entry}
    return _joined(_replaced(lines, key.start_mark.line, _last_line(value), _dumped({CONNECTIONS: every})))


def _in_block(lines: Sequence[str], connections: MappingNode, name: str, entry: Mapping[str, Any]) -> list[str]:
    """The lines with the entry in its place, or after the last one."""
    margin = " " * int(connections.value[0][0].start_mark.column)
    made = [indent(line, margin) for line in _dumped({name: entry})]
    there = _child(connections, name)
    if there is not None:
        return _replaced(lines, there[0].start_mark.line, _last_line(there[1]), made)
    end = _last_line(connections) + 1
    return [*lines[:end], *made, *lines[end:]]


def _replaced(lines: Sequence[str], first: int, last: int, new: Sequence[str]) -> list[str]:
    return [*lines[:first], *new, *lines[last + 1 :]]


def _child(node: Node | None, name: str) -> tuple[Node, Node] | None:
    pairs = node.value if isinstance(node, MappingNode) else []
    return next(((key, value) for key, value in pairs if key.value == name), None)


def _last_line(node: Node) -> int:
    """The last line (from 0) of a value itself; its end mark may lie behind comments and empty lines."""
    if isinstance(node, MappingNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1][1])
    if isinstance(node, SequenceNode) and not node.flow_style and node.value:
        return _last_line(node.value[-1])
    end = node.end_mark
    at_start = isinstance(node, ScalarNode) and end.column == 0 and end.line > node.start_mark.line
    return int(end.line) - (1 if at_start else 0)


def _dumped(data: Mapping[str, Any]) -> list[str]:
    """As the shipped files are written: block style, references in one line."""
    parser, written = YAML(), StringIO()
    parser.width = WIDEST
    parser.dump(_styled(data), written)
    return written.getvalue().splitlines()


def _styled(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    styled = CommentedMap((key, _styled(item)) for key, item in value.items())
    if (
        value
        and not any(isinstance(item, Mapping) for item in value.values())
        and set(value) <= {"env", "file", "block"}
    ):
        styled.fa.set_flow_style()
    return styled


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines).rstrip("\n") + "\n"
