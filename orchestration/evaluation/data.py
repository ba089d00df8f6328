"""Reads the data of an evaluation: JSON lines, checked before anything is spent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rfc8785 import CanonicalizationError

from orchestration.errors import ConfigurationError, Place
from orchestration.values import Json, canonical

Record = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Line:
    """One object of the data file; `number` counts the file's lines from 1, empty ones too."""

    number: int
    record: Record


def load_lines(path: Path, *, shown_as: str = "") -> tuple[Line, ...]:
    """The objects of a JSON lines file, in its order. `shown_as` is how errors name the file.

    Raises `ConfigurationError` with file and line for a missing or empty file, a broken line, a line that is no
    object, and for what canonical JSON can't hold (NaN, integers beyond 2^53, half a surrogate pair): the graded
    table could not be hashed after all the rows were paid for.
    """
    name = shown_as or str(path)
    lines = tuple(Line(number, _record(text, Place(name, number))) for number, text in _texts(path, name))
    if not lines:
        raise ConfigurationError(
            "the data is empty: there is nothing to evaluate.", at=Place(name), cure="Add one JSON object per line."
        )
    return lines


def _texts(path: Path, name: str) -> Iterator[tuple[int, str]]:
    """Lines end at the newline character only: U+2028 and its like may stand inside a JSON string."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the data can't be read: {error.strerror}.", at=Place(name), cure="Check the path."
        ) from None
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            text = raw.decode().strip()
        except UnicodeDecodeError:
            raise ConfigurationError(
                "not UTF-8 text.", at=Place(name, number), cure="Save the file as UTF-8."
            ) from None
        if text:
            yield number, text


def _record(text: str, at: Place) -> Record:
    try:
        record = json.loads(text, parse_constant=_refuse)
        if isinstance(record, dict):
            canonical(record)
            return record
    except CanonicalizationError as error:
        raise ConfigurationError(f"holds what JSON can't carry safely: {error}.", at=at) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"broken JSON: {error}.", at=at, cure="Each line must be one complete JSON object."
        ) from None
    raise ConfigurationError(
        f"a JSON {_kind(record)} instead of an object.", at=at, cure='Write the row as {"column": value}.'
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _kind(value: Json) -> str:
    if value is None:
        return "null"
    return {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}.get(type(value), "value")
