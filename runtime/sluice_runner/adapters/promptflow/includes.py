"""`additional_includes`: files that prompt flow's own command copies into the folder before it runs a flow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sluice_runner.adapters.base import OpenFailed


def check_includes(data: Mapping[str, Any], flow: Path, file: str) -> None:
    """Raises `OpenFailed` for one that isn't in the flow's folder: what is evaluated and served is that folder alone."""
    for named in data.get("additional_includes") or ():
        if not (flow / Path(str(named)).name).exists():
            raise OpenFailed(
                "Unsupported",
                f"additional_includes names {named}: put a copy of it, or a link to it, beside {file}",
                file,
            )
