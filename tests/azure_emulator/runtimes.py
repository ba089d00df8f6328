"""Runtimes for what the emulator runs: built once, in a process that sees the world as it was before it was emulated."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from orchestration.runtimes import find_runtime

from .children import OUTSIDE, Child

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 1800.0
_BUILD = """
import pathlib, sys
from orchestration.runtimes import ensure_runtime
lock, folder, root = map(pathlib.Path, sys.argv[1:])
ensure_runtime(lock.read_text(encoding="utf-8"), folder=folder, root=root)
"""


class NotBuilt(Exception):
    """The runtime can't be had; the text is the end of what the build said."""


class Runtimes:
    """Interpreters with the project's runner, kept in a folder for the next time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._builds: list[Child] = []

    def stop(self) -> None:
        """End builds that are under way."""
        for build in self._builds:
            build.end()

    async def of(self, lock: Path) -> Path:
        """The interpreter of the runtime with the requirements of this file. Raises `NotBuilt`."""
        return await asyncio.to_thread(self._ensured, lock)

    def _ensured(self, lock: Path) -> Path:
        text = lock.read_text(encoding="utf-8")
        found = find_runtime(text, folder=self._folder, root=ROOT)
        if found:
            return found
        said = self._build(lock)
        found = find_runtime(text, folder=self._folder, root=ROOT)
        if found is None:
            raise NotBuilt(said[-500:])
        return found

    def _build(self, lock: Path) -> str:
        with tempfile.TemporaryDirectory(prefix="build-") as folder:
            command: list[str | Path] = [sys.executable, "-c", _BUILD, lock, self._folder, ROOT]
            child = Child(command, log=Path(folder) / "build.log", environment=OUTSIDE, cwd=ROOT)
            self._builds.append(child)
            child.wait(BUILD_SECONDS)
            return child.output()
