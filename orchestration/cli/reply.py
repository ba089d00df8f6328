"""What a command answers, and the exit codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """Exit codes; docs/exit-codes.md is checked against this table."""

    OK = 0  # released, or exactly this serves already
    ERROR = 1  # anything not named below
    FAIL = 2
    INCONCLUSIVE = 3
    BROKEN = 4
    ROLLED_BACK = 5
    APPROVAL_REJECTED = 6  # or expired
    SUPERSEDED = 7
    USAGE = 64  # wrong usage or configuration
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Reply:
    """`data` is printed with --json, `text` without."""

    text: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    code: Exit = Exit.OK
