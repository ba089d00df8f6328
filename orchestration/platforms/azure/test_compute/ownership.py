"""Whose a resource of a run is: by its tags, and by names that follow from one another."""

from __future__ import annotations

from collections.abc import Mapping

from orchestration.errors import ResourceRefused
from orchestration.platforms.azure.resources import check_owned
from orchestration.platforms.places import RUN_TAG


def check_same_run(what: str, tags: Mapping[str, str] | None, wanted: Mapping[str, str]) -> None:
    """Raises `ResourceRefused` unless the run that wants it made it."""
    check_made(what, tags)
    if (tags or {})[RUN_TAG] != wanted[RUN_TAG]:
        raise ResourceRefused(f"The {what} belongs to another run, {(tags or {})[RUN_TAG]}: it is not adopted.")


def check_made(what: str, tags: Mapping[str, str] | None) -> None:
    """Raises `ResourceRefused` unless a run of ours made it."""
    check_owned(what, tags)
    if RUN_TAG not in (tags or {}):
        raise ResourceRefused(f"The {what} carries no tag {RUN_TAG!r}: no run made it, so none removes it.")


def is_made(tags: Mapping[str, str] | None) -> bool:
    """Whether a run of ours made it."""
    try:
        check_made("", tags)
    except ResourceRefused:
        return False
    return True
