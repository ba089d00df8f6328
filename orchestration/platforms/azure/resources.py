"""What all resources on Azure have in common: ownership by tags, tags that Azure takes, states."""

from __future__ import annotations

from collections.abc import Mapping

from orchestration.errors import PlatformConflict, ResourceRefused
from orchestration.platforms.base import DELETING, FAILED, OWNER_TAG, SUCCEEDED

LONGEST_TAG = 256
MINE = "1"  # the value of the owner tag, where the caller gives none


def owner_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags for a resource of ours, in the length that Azure takes."""
    return {name: str(value)[:LONGEST_TAG] for name, value in ({OWNER_TAG: MINE} | dict(tags)).items()}


def check_owned(what: str, tags: Mapping[str, str] | None) -> None:
    """Raises `ResourceRefused` for what carries no tag of ours."""
    if OWNER_TAG not in (tags or {}):
        raise ResourceRefused(
            f"The {what} exists and carries no tag {OWNER_TAG!r}: it is not ours to change.",
            cure="Choose another name, or remove it by hand.",
        )


def check_settled(what: str, state: str) -> None:
    """Raises `PlatformConflict` while an operation is under way: Azure takes no other until it has ended."""
    if state == DELETING:
        raise PlatformConflict(f"The {what} is being deleted.")
    if state != SUCCEEDED and state not in FAILED:
        raise PlatformConflict(f"The {what} is {state}.", cure="Wait until that has ended.")
