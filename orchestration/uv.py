"""Calling uv: found beside the interpreter, given no secrets, its cache where runtimes can link to it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestration.errors import ConfigurationError, PlatformTimeout
from orchestration.processes import clean_environment

UNREACHABLE = re.compile(r"error sending request|Request failed after|dns error|Connection (refused|reset)|timed out")
NOT_PASSED = frozenset({"UV_REQUIRE_HASHES", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_CACHE_DIR", "UV_OFFLINE"})


def find_uv() -> Path:
    """The uv of the environment that runs Sluicegate, else the one on PATH. Raises `ConfigurationError`."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if not found:
        raise ConfigurationError("uv, which builds the runtimes, was not found.", cure="Next: make setup")
    return Path(found)


def run_uv(
    argv: Sequence[str], *, beside: Path, cwd: Path | None = None, timeout_seconds: float = 1800
) -> subprocess.CompletedProcess[str]:
    """Run uv and return what it said, whether it worked or not. Raises `PlatformTimeout`.

    `beside` is a folder on whose file system the cache has to lie: runtimes then share their files with it.
    """
    try:
        return subprocess.run(
            [str(find_uv()), *argv],
            cwd=cwd,
            env=_environment(beside),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PlatformTimeout(f"uv {argv[0]}", timeout_seconds, last="running") from None


def reason(said: str) -> str:
    """The one line of uv's message that says why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith("cause:")]
    errors = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    return (causes or errors or lines or ["uv said nothing"])[0]


def is_unreachable(said: str) -> bool:
    """Whether uv failed because it could not reach a package index."""
    return bool(UNREACHABLE.search(said))


def _environment(beside: Path) -> dict[str, str]:
    """What uv may see: proxies, certificates and its own variables, but no keys: packages run code when built."""
    own = {k: v for k, v in os.environ.items() if k.startswith(("UV_", "XDG_")) and k not in NOT_PASSED}
    return clean_environment(
        {"UV_SYSTEM_CERTS": "1", "UV_NO_PROGRESS": "1", **own, "UV_CACHE_DIR": str(_cache(beside))}, web=True
    )


def _cache(beside: Path) -> Path:
    """The usual cache, unless it can't be written or lies on another file system."""
    home = os.environ.get("HOME") or "/nonexistent"
    xdg = os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    usual = Path(os.environ.get("UV_CACHE_DIR") or f"{xdg}/uv")
    existing = _existing(usual)
    same = existing.stat().st_dev == _existing(beside).stat().st_dev
    return usual if same and os.access(existing, os.W_OK | os.X_OK) else beside / "uv-cache"


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
