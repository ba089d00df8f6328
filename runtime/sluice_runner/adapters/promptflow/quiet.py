"""Keeps promptflow to itself: no telemetry, no background service, no exporter, nothing in the home directory."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

from sluice_runner.adapters.base import OpenFailed

TRACING = "PF_DISABLE_TRACING"
SETTINGS = {
    "PF_TRACING_SKIP_LOCAL_SETUP": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}
UNWANTED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# What promptflow's SDK reads, should it be imported.
CONFIG = "telemetry:\n  enabled: false\nextension:\n  telemetry_enabled: false\ntrace:\n  destination: none\n"
SDK = "promptflow._sdk._constants"  # reads HOME when it is imported, and makes that folder
HOME = "PF_HOME_DIRECTORY"
OURS = "SLUICE_RUNNER_PF_HOME"
_chosen: list[tuple[int, Path]] = []  # process, folder


def hush(*, count_tokens: bool = True) -> None:
    """Set the environment of this process and its children; before promptflow is imported. Raises `OpenFailed`.

    promptflow counts tokens only while it traces, which takes a third of a row's time.
    """
    check_sandbox()
    os.environ.update(SETTINGS)
    os.environ[TRACING] = "false" if count_tokens else "true"  # nothing is exported without an exporter
    os.environ.setdefault("PF_LOGGING_LEVEL", "WARNING")
    for name in UNWANTED:
        os.environ.pop(name, None)
    if OURS not in os.environ:  # else the parent chose it, and will remove it
        home = Path(tempfile.gettempdir(), f"sluice-promptflow-{uuid.uuid4().hex}")
        _chosen.append((os.getpid(), home))
        atexit.register(clean_up)
        os.environ[OURS] = str(home)
    os.environ[HOME] = os.environ[OURS]
    if not any(isinstance(finder, SdkWatch) for finder in sys.meta_path):
        sys.meta_path.insert(0, SdkWatch())


def check_sandbox() -> None:
    """Raises `OpenFailed` if Jinja templates, which hold data, could run code."""
    if os.environ.get("PF_USE_SANDBOX_FOR_JINJA", "true").lower() == "false":
        raise OpenFailed("Unsafe", "PF_USE_SANDBOX_FOR_JINJA=false lets templates run code: remove it")


def clean_up() -> None:
    """Remove the private home that this process chose, if anybody made it."""
    for pid, home in _chosen:
        if pid == os.getpid():
            shutil.rmtree(home, ignore_errors=True)


class SdkWatch(MetaPathFinder):
    """Makes the private home of promptflow's SDK in the moment in which it is imported: for most flows, never."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        del path, target
        if fullname == SDK:
            home = Path(os.environ[OURS])
            home.mkdir(mode=0o700, exist_ok=True)
            (home / "pf.yaml").write_text(CONFIG, encoding="utf-8")
