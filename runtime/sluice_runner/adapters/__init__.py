"""Picks the adapter by the files of a prompt flow's folder.

`frameworks.toml`, beside this package in the source tree, says the same to the orchestrator as data; a test keeps
the two alike.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from sluice_runner.adapters.base import Executor, Message, OpenFailed

# The first marker found names the adapter: marker file (or pattern), module.
MARKERS = (
    ("flow.dag.yaml", "promptflow"),
    ("flow.flex.yaml", "promptflow"),
    ("callable.toml", "callable"),
    ("*.prompty", "promptflow"),
)


def find_adapter(flow: Path) -> str:
    """Name of the adapter for the folder. Raises `OpenFailed` if no file in it marks a framework."""
    if not flow.is_dir():
        raise OpenFailed("NoFlow", f"there is no folder {flow}")
    for marker, adapter in MARKERS:
        if any(flow.glob(marker)):
            return adapter
    markers = ", ".join(marker for marker, _ in MARKERS)
    raise OpenFailed("NoFlow", f"{flow.name} has none of {markers}; nothing says how to run it")


def load_adapter(flow: Path) -> Any:
    """The adapter's module, its framework not yet imported.

    It has `prepare() -> bool`, which imports the framework if it is safe to fork afterwards and says whether it is,
    `open_flow(flow, message) -> Executor`, and `clean_up()`. The first two raise `OpenFailed`.
    """
    return importlib.import_module(f"sluice_runner.adapters.{find_adapter(flow)}")


def open_flow(message: Message) -> Executor:
    """Open the prompt flow that an `open` message names, in this process. Raises `OpenFailed`.

    The process moves into the flow's folder and imports from it, as prompt flows expect, and writes no bytecode
    from here on: the folder is read-only. So one process opens one flow.
    """
    flow = Path(message["flow"]).resolve()
    adapter = load_adapter(flow)
    sys.dont_write_bytecode = True
    os.chdir(flow)
    sys.path.insert(0, str(flow))
    executor: Executor = adapter.open_flow(flow, message)
    return executor


def clean_up() -> None:
    """Undo what the adapters that this process used have left on the disk; for its end."""
    for adapter in {adapter for _, adapter in MARKERS}:
        module = sys.modules.get(f"{__name__}.{adapter}")
        if module is not None:
            module.clean_up()
