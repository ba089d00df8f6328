"""How numbers, grades and row keys read in the gate's sentences."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

NAMED_ROWS = 5  # rows that a sentence names; the graded table has them all
LONGEST_VALUE = 60
MOST_DECIMALS = 17


def number(value: float, beside: float | None = None) -> str:
    """`value` with two decimals, or with as many as it takes to tell it from the number it stands `beside`."""
    if not abs(value) <= sys.float_info.max:
        return value_of(value)
    if beside is None or value == beside:
        return _exactly(value)
    for decimals in range(2, MOST_DECIMALS):
        text = f"{value:.{decimals}f}"
        if text != f"{beside:.{decimals}f}":
            return text
    return repr(value)


def count(many: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{many} {noun}" if many == 1 else f"{many} {noun}s"


def names(keys: Sequence[str]) -> str:
    """The first few row keys, and how many more there are."""
    shown = ", ".join(islice(keys, NAMED_ROWS))
    return f"{shown} and {len(keys) - NAMED_ROWS} more" if len(keys) > NAMED_ROWS else shown


def value_of(grade: Any) -> str:
    """A grade as JSON, cut to a readable length."""
    text = json.dumps(grade, ensure_ascii=True, default=repr)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def sentence(parts: Iterable[str]) -> str:
    """Join what is not empty with spaces."""
    return " ".join(part for part in parts if part)


def _exactly(value: float) -> str:
    """The shortest text that reads back as `value`, with at least two decimals."""
    for decimals in range(2, MOST_DECIMALS):
        text = f"{value:.{decimals}f}"
        if float(text) == value:
            return text
    return repr(value)
