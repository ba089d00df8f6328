"""Fixtures that tests of several parts share."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "promptflow.txt"


@pytest.fixture(scope="session")
def promptflow_python() -> Path:
    """An interpreter with promptflow (not with the runner: set PYTHONPATH), built once per lock and kept."""
    name = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:16]
    venv = ROOT / ".sluice" / "test-runtimes" / name
    venv.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{venv}.lock"):
        if not (venv / "ready").exists():
            shutil.rmtree(venv, ignore_errors=True)
            _uv("venv", "--python", sys.executable, str(venv))
            _uv(
                *("pip", "install", "--compile-bytecode", "--require-hashes", "--python", str(venv / "bin" / "python")),
                *("-r", str(LOCK)),
            )
            (venv / "ready").touch()
    return venv / "bin" / "python"


def _uv(*arguments: str) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv is not None, "uv is missing: make setup-dev"
    subprocess.run([uv, "--quiet", *arguments], check=True)


@pytest.fixture
def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
