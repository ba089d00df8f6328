"""The block `sluice-environment/<environment>`: overrides that a person set in the Prefect UI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from blocks import SluiceEnvironment


def load(environment: str) -> Mapping[str, Any] | None:
    """The block's overrides as settings, or None when there is no such block."""
    try:
        block = cast("SluiceEnvironment", SluiceEnvironment.load(environment))
    except ValueError as error:
        if "Unable to find block document" not in str(error):
            raise
        return None
    return block.settings()
