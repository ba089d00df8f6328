"""Changing one entry of a `config/*.yaml` that a person wrote: comments and order stay."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from orchestration.errors import ConfigurationError, Place
from orchestration.yaml_files import YamlFile, read_yaml

WIDEST = 4096  # ruamel breaks longer lines


def with_connection(root: Path, environment: str, name: str, entry: Mapping[str, Any]) -> str:
    """The text of `config/<environment>.yaml` with this connection in place of the one of the same name."""
    file = read_yaml(root / "config" / f"{environment}.yaml", root=root)
    connections = file.data.get("connections")
    if connections is None and "connections" not in file.data:
        block = _dump({"connections": {name: _plain(entry)}})
        return f"{_ended(file.text)}{block}" if file.text.strip() else block
    return _round_trip(file, name, entry)


def _round_trip(file: YamlFile, name: str, entry: Mapping[str, Any]) -> str:
    parser = _parser(file.text)
    data = parser.load(file.text)
    if not isinstance(data.get("connections"), CommentedMap):
        data["connections"] = CommentedMap()
    data["connections"][name] = _plain(entry)
    written = StringIO()
    parser.dump(data, written)
    text = written.getvalue()
    if YAML(typ="safe", pure=True).load(text) != {**file.data, "connections": _merged(file.data, name, entry)}:
        # ruamel's round trip is trusted only as far as it reads back as what was meant.
        message, cure = "can't be changed without losing something.", f"Write connections.{name} into it by hand."
        raise ConfigurationError(message, at=Place(file.name), cure=cure)
    return text


def _merged(data: Mapping[str, Any], name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**(data.get("connections") or {}), name: dict(entry)}


def _plain(entry: Mapping[str, Any]) -> CommentedMap:
    """The entry in block style, its references in flow style, as the shipped files have them."""
    made = CommentedMap()
    for key, value in entry.items():
        if isinstance(value, Mapping):
            inner = CommentedMap(value)
            inner.fa.set_flow_style()
            made[key] = inner
        else:
            made[key] = value
    return made


def _dump(data: Mapping[str, Any]) -> str:
    written = StringIO()
    _parser("").dump(data, written)
    return written.getvalue()


def _parser(text: str) -> YAML:
    parser = YAML()
    parser.preserve_quotes = True
    parser.width = WIDEST
    indented = any(line.startswith(" ") and line.lstrip().startswith("- ") for line in text.splitlines())
    if indented:
        parser.indent(mapping=2, sequence=4, offset=2)
    return parser


def _ended(text: str) -> str:
    """The text with a line end and an empty line after it."""
    return text.rstrip("\n") + "\n\n"
