"""Adapter for promptflow 1.18.5: DAG flows, flex flows and prompty.

promptflow is imported only here and below, by `prepare` and `open_flow`. `SLUICE_RUNNER_FULL_IMPORT=1` imports it the
way its makers meant, with its SDK and the threads that come with it, so workers are then started anew, not forked.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sluice_runner.adapters.base import Executor, Message, OpenFailed, opening
from sluice_runner.adapters.promptflow import light, quiet

if TYPE_CHECKING:
    from sluice_runner.adapters.promptflow.connections import Connections

FULL_IMPORT = "SLUICE_RUNNER_FULL_IMPORT"


def prepare() -> bool:
    """Import promptflow if a fork is safe afterwards, and say whether it is. Raises `OpenFailed`."""
    quiet.hush()
    if _full():
        return False
    _import()
    return True


def clean_up() -> None:
    """Remove promptflow's private home, if this process made it."""
    quiet.clean_up()


def open_flow(flow: Path, message: Message) -> Executor:
    """Open the folder's prompt flow in this process. Raises `OpenFailed`."""
    quiet.hush(count_tokens=message.get("count_tokens", True))
    _import()
    from sluice_runner.adapters.promptflow import connections, repairs  # noqa: PLC0415 - imports promptflow

    known = connections.Connections(message.get("connections") or {})
    connections.install(known)
    repairs.install()
    with opening(flow):
        return _open(flow, message, known)


def _open(flow: Path, message: Message, connections: Connections) -> Executor:
    from sluice_runner.adapters.promptflow import dag, flex  # noqa: PLC0415 - imports promptflow

    if (flow / dag.FILE).exists():
        return dag.open_dag(flow, message, connections)
    if (flow / flex.FILE).exists():
        return flex.open_flex(flow, message, connections)
    return flex.open_prompty(flow, message, connections)


def _full() -> bool:
    return os.environ.get(FULL_IMPORT) == "1"


def _import() -> None:
    try:
        if _full():
            _import_all()
            return
        light.install()
        with light.later():
            _import_all()
    except ImportError as error:
        raise OpenFailed(
            "NoFramework",
            f"promptflow can't be imported here ({error}): the flow's requirements must name promptflow",
        ) from error


def _import_all() -> None:
    importlib.import_module("sluice_runner.adapters.promptflow.dag")
    importlib.import_module("sluice_runner.adapters.promptflow.flex")
    with contextlib.suppress(ImportError):  # only LLM and package nodes need it
        importlib.import_module("promptflow.tools")
