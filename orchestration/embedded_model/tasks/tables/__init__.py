"""The word lists of the keyword baseline, read once per process. `#` starts a comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


@cache
def words(name: str) -> frozenset[str]:
    """The entries of `<name>.txt`, separated by commas or line ends, in lower case."""
    return frozenset(entry.strip().lower() for line in _lines(name) for entry in line.split(",") if entry.strip())


@cache
def keywords(name: str) -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """The lines `name, synonym = keyword, keyword` of `<name>.txt`, in lower case and in the order of the file."""
    table: dict[tuple[str, ...], tuple[str, ...]] = {}
    for line in _lines(name):
        names, _, found = line.partition("=")
        table[_split(names)] = _split(found)
    return table


def _lines(name: str) -> Iterator[str]:
    for line in (_HERE / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        entry = line.partition("#")[0].strip()
        if entry:
            yield entry


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip().lower() for part in text.split(",") if part.strip())
