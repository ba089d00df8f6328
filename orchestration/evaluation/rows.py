"""Rows: what is sent to the prompt flow, under which name, and the keys under which answers are stored."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.errors import ConfigurationError, Place
from orchestration.evaluation.data import Line
from orchestration.evaluation.job import Subject
from orchestration.evaluation.mapping import ColumnMapping
from orchestration.values import Json, Row

KEY_LENGTH = 16  # hex digits of a row's own name: 64 bits, collisions are refused below anyway


def make_rows(lines: Sequence[Line], mapping: ColumnMapping, key: str | None, data_name: str) -> tuple[Row, ...]:
    """One row per line, in the order of the data.

    A row is named by its key column, or by the hash of its inputs (equal rows then get `-2`, `-3`, ...). Raises
    `ConfigurationError` for a key that is missing, no text or number, or used twice.
    """
    inputs = [mapping.apply(line.record) for line in lines]
    names = _key_column(lines, key, data_name) if key else _hashes(inputs)
    return tuple(
        Row(name, line.number, values, line.record) for name, line, values in zip(names, lines, inputs, strict=True)
    )


def _key_column(lines: Sequence[Line], key: str, data_name: str) -> list[str]:
    seen: dict[str, int] = {}
    for line in lines:
        name = _name(line, key, Place(data_name, line.number, key))
        if name in seen:
            raise ConfigurationError(
                f"the key {name!r} stands on line {seen[name]} too.",
                at=Place(data_name, line.number, key),
                cure="Make the keys unique, or remove `key` from sluice.yaml.",
            )
        seen[name] = line.number
    return list(seen)


def _name(line: Line, key: str, at: Place) -> str:
    value = line.record.get(key)
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        return str(value)
    what = "no key" if value is None or value == "" else "a key that is neither text nor a whole number"
    raise ConfigurationError(f"the row has {what}.", at=at, cure="`key` in sluice.yaml names the column.")


def _hashes(inputs: Sequence[Mapping[str, Json]]) -> list[str]:
    hashes = [digest(values)[:KEY_LENGTH] for values in inputs]
    return [name if n == 1 else f"{name}-{n}" for name, n in zip(hashes, occurrences(hashes), strict=True)]


def occurrences(names: Sequence[str]) -> list[int]:
    """For each name how often it has come up to there: 1, or more for a repeated one."""
    seen: Counter[str] = Counter()
    counts = []
    for name in names:
        seen[name] += 1
        counts.append(seen[name])
    return counts


def digest(value: Any) -> str:
    """Hex sha256 of JSON with sorted keys: stable on this machine, ten times faster than RFC 8785."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def subject_identity(subject: Subject, binding_hash: str) -> dict[str, Json]:
    """What an answer of this subject depends on, besides the inputs."""
    return {
        "content": subject.content_hash,
        "runtime": subject.runtime,
        "binding": binding_hash,
        "variant": subject.variant,
        "overrides": {node: dict(values) for node, values in subject.overrides.items()},
    }


def store_keys(identity: Mapping[str, Json], inputs: Sequence[Mapping[str, Json]]) -> list[str]:
    """The key of each row's answer.

    Equal inputs are counted: two equal rows keep an answer each, so that a repeated evaluation sees the same ones.
    """
    subject = digest(identity)
    hashes = [digest({"row": values, "of": subject}) for values in inputs]
    return [name if n == 1 else f"{name}-{n}" for name, n in zip(hashes, occurrences(hashes), strict=True)]
