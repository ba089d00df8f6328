"""Shapes that say something whatever stands in them: prices, weekdays, versions. `labels.txt` names them `<price>`."""

# ruff: noqa: RUF001 - punctuation of many scripts is what this file is about

from __future__ import annotations

import re

_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_UNIT = r"(?:%|(?:percent|million|[cmk]?m|[mk]?g|[kmg]b|[mg]hz)\b)"
_SHAPES: dict[str, re.Pattern[str]] = {
    "<price>": re.compile(
        rf"[$€£¥]\s?\d|(?<![\d.,])\d{{1,6}}[.,]\d{{2}}(?![\d.,/]*\d)(?! ?{_UNIT})|\b\d+ (?:euros?|dollars?|pounds?)\b"
    ),
    "<on a weekday>": re.compile(rf"\b(?:on|last|since|until|by) {_DAY}\b|\bthis (?:morning|afternoon|evening|week)\b"),
    "<length>": re.compile(r"\b\d{2,3} ?min(?:utes?|s)?\b|\b\d h(?:ours?)? \d{1,2} ?m(?:in)?\b"),
    "<version>": re.compile(r"\bv(?:ersion)? ?\d+(?:\.\d+)+|(?<![\d.])\d+\.\d+\.\d+(?![\d.])"),
    "<bundle>": re.compile(r"[=/](?:com|org|net|io)\.[a-z]\w*\.\w+"),
    "<size>": re.compile(r"\b\d+(?:[.,]\d+)? ?[kmg]b\b"),
    "<year>": re.compile(r"\((?:18|19|20)\d\d\)"),
    "<pages>": re.compile(r"\b(?:pages|pp\.?) ?\d+ ?[-–] ?\d+"),
    "<dated path>": re.compile(r"/(?:19|20)\d\d/\d\d?/"),
    "<schedule>": re.compile(rf"\b(?:every|each) (?:week|day|month|{_DAY})|\b{_DAY}s\b|\b(?:week|month)ly\b"),
}


def shapes_in(lower: str) -> dict[str, int]:
    """How often each shape occurs in a text in lower case; what does not occur is left out."""
    counts = {name: len(pattern.findall(lower)) for name, pattern in _SHAPES.items()}
    return {name: count for name, count in counts.items() if count}
