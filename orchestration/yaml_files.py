"""YAML files that users write: parsed fast and strictly; lines are looked up only when an error has to be reported.

Only what JSON can hold is accepted, because what is read is hashed and stored as JSON: a date stays the text it was
written as, and NaN, sets and keys that are no text are refused. A key that stands twice is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestration.errors import ConfigurationError, Place

Loc: TypeAlias = tuple[str | int, ...]
Locate: TypeAlias = Callable[[Loc], Place]

LARGEST_INTEGER = 2**53 - 1  # larger ones are not exact in JSON
DEEPEST = 40
MOST_VALUES = 100_000  # a few lines of aliases can stand for more than could ever be looked at


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A parsed file. `name` is how messages call it: its path below the project's root."""

    name: str
    text: str
    data: dict[str, Any]

    def place(self, loc: Loc) -> Place:
        """Where a key stands; the line of the nearest key above it where it is missing."""
        return Place(self.name, line_of(self.text, loc), dotted(loc))


def read_yaml(path: Path, *, root: Path) -> YamlFile:
    """Read a file whose top level is a mapping; an empty file is an empty mapping.

    Raises `ConfigurationError` with the line: unreadable, no YAML, a key twice, or no JSON.
    """
    return parse_yaml(read_text(path, root=root), name=shown(path, root))


def parse_yaml(text: str, *, name: str) -> YamlFile:
    """`read_yaml` of text that was read before."""
    try:
        data = _load(text)
    except YAMLError as error:
        raise _syntax_error(name, error) from None
    except (RecursionError, ValueError) as error:
        raise ConfigurationError(f"can't be read as YAML: {error}", at=Place(name)) from None
    if is_too_large(data):
        raise ConfigurationError(f"holds more than {MOST_VALUES} values; aliases multiply them.", at=Place(name))
    file = YamlFile(name, text, {} if data is None else data)
    if not isinstance(file.data, dict):
        raise ConfigurationError(f"found {kind_of(data)}, expected keys with values.", at=Place(name, 1))
    for loc, message in _unfit(file.data, ()):
        raise ConfigurationError(message, at=file.place(loc))
    return file


def read_text(path: Path, *, root: Path) -> str:
    """The UTF-8 text of a file. Raises `ConfigurationError` that names the file."""
    at = Place(shown(path, root))
    try:
        return path.read_bytes().decode("utf-8")  # line ends stay as they are
    except FileNotFoundError:
        raise ConfigurationError("the file is missing.", at=at) from None
    except OSError as error:
        raise ConfigurationError(f"can't be read: {error.strerror}.", at=at) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"is not UTF-8 at byte {error.start}.", at=at) from None


def shown(path: Path, root: Path) -> str:
    """A path as messages show it: below the project's root where it is there."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def dotted(loc: Loc) -> str:
    """`gate.rules.0.above`"""
    return ".".join(str(part) for part in loc)


def line_of(text: str, loc: Loc) -> int | None:
    """The line (from 1) on which the key `loc` stands, or the nearest key above it that exists."""
    node, line = _composed(text), None
    for part in loc:
        found = _child(node, part)
        if found is None:
            break
        line, node = found
    return line


def is_too_large(data: Any) -> bool:
    """Whether the data holds more than `MOST_VALUES`, counting what stands behind an alias each time."""
    seen, waiting = 0, [data]
    while waiting and seen <= MOST_VALUES:
        value = waiting.pop()
        seen += 1
        if isinstance(value, dict | list):
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return seen > MOST_VALUES


def kind_of(value: Any) -> str:
    """What a value is, in a user's words."""
    names: list[tuple[type | tuple[type, ...], str]] = [
        (type(None), "nothing"),
        (bool, "true or false"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "text"),
        (dict, "keys with values"),
        (list, "a list"),
    ]
    return next((name for kinds, name in names if isinstance(value, kinds)), type(value).__name__)


class _Constructor(SafeConstructor):
    """Values as JSON knows them."""


def _as_written(_: SafeConstructor, node: ScalarNode) -> str:
    return str(node.value)


# `api_version: 2024-10-21` is a version, not a day.
_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _as_written)


def _parser(*, pure: bool) -> YAML:
    parser = YAML(typ="safe", pure=pure)
    parser.Constructor = _Constructor
    return parser


def _load(text: str) -> Any:
    return _lenient(lambda parser: parser.load(text))


def _lenient(parse: Callable[[YAML], Any]) -> Any:
    """The C parser is about ten times as fast, but refuses `{base: https://a.example}`, which YAML 1.2 allows."""
    try:
        return parse(_parser(pure=False))
    except YAMLError:
        return parse(_parser(pure=True))


@lru_cache(maxsize=8)
def _composed(text: str) -> Node | None:
    try:
        node: Node | None = _lenient(lambda parser: parser.compose(text))
    except YAMLError:
        return None
    return node


def _child(node: Node | None, part: str | int) -> tuple[int, Node] | None:
    """Line and value of a key or of a list's item."""
    if isinstance(node, MappingNode):
        pairs = (pair for pair in node.value if pair[0].value == str(part))
        return next(((key.start_mark.line + 1, value) for key, value in pairs), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        item: Node = node.value[part]
        return item.start_mark.line + 1, item
    return None


def _syntax_error(name: str, error: YAMLError) -> ConfigurationError:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    at = Place(name, mark.line + 1 if mark else None)
    if isinstance(error, DuplicateKeyError):
        key = str(error.problem).split('"')[1]
        return ConfigurationError(f"the key {key!r} stands here for the second time.", at=at, cure="Remove one.")
    problem = (error.problem if isinstance(error, MarkedYAMLError) else None) or str(error).splitlines()[0]
    return ConfigurationError(f"is not valid YAML: {problem}.", at=at)


def _unfit(value: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    """What JSON can't hold, with its place."""
    if len(loc) > DEEPEST:
        yield loc[:DEEPEST], f"is nested deeper than {DEEPEST} levels."
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                yield (*loc, str(key)), f"the key {key!r} is not text; put it in quotes."
            yield from _unfit(item, (*loc, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unfit(item, (*loc, index))
    elif message := _unfit_scalar(value):
        yield loc, message


def _unfit_scalar(value: Any) -> str:
    if not isinstance(value, str | bool | int | float | type(None)):
        return f"found {type(value).__name__}, expected text, a number, a list or keys with values."
    if isinstance(value, float) and not math.isfinite(value):
        return f"found {value}, expected a finite number."
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return f"found {value}, expected a number up to {LARGEST_INTEGER}."
    return ""
