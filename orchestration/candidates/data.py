"""Checking a data file: JSON lines, each an object. A broken line is named by its number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from orchestration.errors import ConfigurationError, Place
from orchestration.validation import nearest
from orchestration.yaml_files import LARGEST_INTEGER


@dataclass(frozen=True, slots=True)
class Data:
    """A checked data file: its bytes as they are, how many rows it has, and every column that any row has."""

    name: str
    content: bytes
    rows: int
    columns: frozenset[str]


def check_data(name: str, content: bytes, *, key: str | None = None) -> Data:
    """Raises `ConfigurationError`: no rows, a line that is no JSON object, a row whose `key` is missing or taken."""
    rows = list(_rows(name, content))
    if not rows:
        raise ConfigurationError("has no rows.", at=Place(name), cure="Write one JSON object per line.")
    columns = frozenset(column for _, row in rows for column in row)
    if key is not None:
        _check_keys(name, rows, key, columns)
    return Data(name, content, len(rows), columns)


def _rows(name: str, content: bytes) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            yield number, _row(name, number, line)


def _row(name: str, number: int, line: bytes) -> Mapping[str, Any]:
    at = Place(name, number)
    try:
        text = line.decode("utf-8")
        row = json.loads(
            text, parse_constant=_refuse, parse_float=_finite, parse_int=_exact, object_pairs_hook=_each_once
        )
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"is not UTF-8 at byte {error.start} of the line.", at=at) from None
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"is not JSON: {error.msg} at column {error.colno}.", at=at) from None
    except (RecursionError, ValueError) as error:
        raise ConfigurationError(f"is not JSON: {error}.", at=at) from None
    if not isinstance(row, dict):
        cure = "Write one JSON object per line."
        raise ConfigurationError(f"found {type(row).__name__}, expected an object.", at=at, cure=cure)
    return row


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object. Of a key that stands there twice the last value would win, unseen."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands in it twice")
    return found


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits} is too large a number")
    return value


def _exact(digits: str) -> int:
    if len(digits) > 15 and (len(digits) > 20 or abs(int(digits)) > LARGEST_INTEGER):
        raise ValueError(f"{digits[:20]} is too large a whole number to be exact; write it as text")
    return int(digits)


def _check_keys(name: str, rows: list[tuple[int, Mapping[str, Any]]], key: str, columns: frozenset[str]) -> None:
    if key not in columns:
        raise ConfigurationError(f"no row has the key column {key!r}.", at=Place(name), cure=nearest(key, columns))
    seen: dict[str, int] = {}
    for number, row in rows:
        value = row.get(key)
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            raise ConfigurationError("needs text or a whole number as its key.", at=Place(name, number, key))
        first = seen.setdefault(str(value), number)
        if first != number:
            message = f"the key {value!r} already names the row in line {first}."
            raise ConfigurationError(message, at=Place(name, number, key), cure="Give each row a key of its own.")
