"""ISO 8601 durations as the clients send them."""

from __future__ import annotations

import re

_DURATION = re.compile(r"^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$")
_UNITS = (86400.0, 3600.0, 60.0, 1.0)


def seconds(text: str) -> float:
    """`PT1M30.5S` is 90.5. Raises `ValueError` for anything else."""
    found = _DURATION.match(text)
    if not found or not any(found.groups()):
        raise ValueError(f"{text!r} is no duration")
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part)
