"""Products: a known brand with what follows it, or a name with a model number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from orchestration.embedded_model.tasks import tables

_MODEL = r"(?:[A-Za-z]{0,4}-?\d{1,4}[A-Za-z]{0,3}(?![\w.,]?\d)|[B-HJ-Z]|Fold\d?|Flip\d?|Pro|Max|Ultra|Mini|mini|Plus|Air|SE|Lite|Series|Edition|Buds|Watch|[IVX]{2,4})\b"
_NUMBERED = re.compile(
    rf"\b[A-Z][A-Za-z]+(?:[- ][A-Z][A-Za-z]+)?[- ][A-Z]{{0,4}}-?\d{{1,4}}[A-Za-z]{{0,3}}\b(?![.,/:]\d)(?:\s{_MODEL})*"
)


def products(text: str) -> Iterable[str]:
    """The products of a text as they stand in it."""
    found = {m.start(): m[0] for m in _NUMBERED.finditer(text) if _is_no_date(m[0])}
    found |= {m.start(): m[0] for m in _brand_pattern().finditer(text)}
    end = 0
    for start in sorted(found):
        if start >= end:
            end = start + len(found[start])
            yield found[start]


def _is_no_date(name: str) -> bool:
    first = re.split(r"[- ]", name)[0].lower()
    return not any(first in tables.words(table) for table in ("months", "common_words", "place_words"))


@cache
def _brand_pattern() -> re.Pattern[str]:
    brands, makers = _any_of("brands"), _any_of("organisations")
    return re.compile(
        rf"\b(?:(?:{makers})\s)?(?:(?-i:(?=[a-z]?[A-Z]))(?:{brands}))\b(?:\s(?-i:{_MODEL}))*", re.IGNORECASE
    )


def _any_of(table: str) -> str:
    return "|".join(re.escape(word) for word in sorted(tables.words(table), key=lambda w: (-len(w), w)))
