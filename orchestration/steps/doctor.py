"""What `sluice doctor` finds: one line per check, with its cure. Nothing is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestration.errors import SluiceError


class Level(StrEnum):
    """How bad a finding is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `configuration`: the user's files are at fault, not the machine."""

    name: str
    level: Level
    message: str
    cure: str = ""
    configuration: bool = False


def ok(name: str, message: str) -> Check:
    """All is well."""
    return Check(name, Level.OK, message)


def warn(name: str, message: str, cure: str = "") -> Check:
    """It works, but somebody should know."""
    return Check(name, Level.WARN, message, cure)


def fail(name: str, message: str, cure: str = "") -> Check:
    """It will not work."""
    return Check(name, Level.FAIL, message, cure)


def misconfigured(name: str, error: SluiceError) -> Check:
    """The user's files will not do."""
    return Check(name, Level.FAIL, error.message, error.cure, configuration=True)


def checks_text(checks: Sequence[Check]) -> str:
    """One line per check, the cure below what needs one, the sum at the end."""
    wide = max((len(each.name) for each in checks), default=0)
    lines = []
    for each in checks:
        lines.append(f"{each.level.value:4}  {each.name:{wide}}  {each.message}")
        lines += [f"{'':6}{'':{wide}}  -> {each.cure}"] if each.cure else []
    counts = ", ".join(f"{sum(each.level is level for each in checks)} {level.value}" for level in Level)
    return "\n".join([*lines, counts])
