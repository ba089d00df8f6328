"""Keeps promptflow to itself: no telemetry, no background service, no exporter, nothing in the home directory."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from sluice_runner.adapters.base import OpenFailed

SETTINGS = {
    "PF_DISABLE_TRACING": "false",  # tokens are counted only then; nothing is exported without an exporter
    "PF_TRACING_SKIP_LOCAL_SETUP": "true",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
}
UNWANTED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# What promptflow's SDK reads, should user code import it.
CONFIG = "telemetry:\n  enabled: false\nextension:\n  telemetry_enabled: false\ntrace:\n  destination: none\n"
HOME = "PF_HOME_DIRECTORY"
OURS = "SLUICE_RUNNER_PF_HOME"
_made: list[tuple[int, str]] = []  # process, folder


def hush() -> None:
    """Set the environment of this process and its children; before promptflow is imported. Raises `OpenFailed`."""
    check_sandbox()
    os.environ.update(SETTINGS)
    os.environ.setdefault("PF_LOGGING_LEVEL", "WARNING")
    for name in UNWANTED:
        os.environ.pop(name, None)
    if OURS not in os.environ:  # else the parent made it
        os.environ[OURS] = _make_home()
        _made.append((os.getpid(), os.environ[OURS]))
        atexit.register(clean_up)
    os.environ[HOME] = os.environ[OURS]


def check_sandbox() -> None:
    """Raises `OpenFailed` if Jinja templates, which hold data, could run code."""
    if os.environ.get("PF_USE_SANDBOX_FOR_JINJA", "true").lower() == "false":
        raise OpenFailed("Unsafe", "PF_USE_SANDBOX_FOR_JINJA=false lets templates run code: remove it")


def clean_up() -> None:
    """Remove what `hush` made in this process, if it did."""
    for pid, home in _made:
        if pid == os.getpid():
            shutil.rmtree(home, ignore_errors=True)


def _make_home() -> str:
    home = tempfile.mkdtemp(prefix="sluice-promptflow-")
    Path(home, "pf.yaml").write_text(CONFIG, encoding="utf-8")
    return home
