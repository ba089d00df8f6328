"""Processes that belong to the emulator: their output in a file, their end certain."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
END_SECONDS = 10.0
# As the emulator found it: what it starts for itself must reach the world, not the emulated one.
OUTSIDE = dict(os.environ)


class Child:
    """A running command, and what it printed. It ends with `end`, and with this process at the latest."""

    def __init__(
        self, command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self._log = log
        with log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd=cwd,
                env=dict(environment),
                start_new_session=True,
            )

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._guard.poll()

    def wait(self, seconds: float) -> int:
        """Its exit code, when it has ended. Raises `TimeoutError` if it has not by then."""
        try:
            return self._guard.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {seconds:g} s") from None

    def output(self) -> str:
        """All that it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """End it and everything that it started; returns when the command is gone."""
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        try:
            self._guard.wait(END_SECONDS)
        except subprocess.TimeoutExpired:  # a guard that is itself stopped: its group's end is the kernel's to see to
            self._guard.kill()
            self._guard.wait(END_SECONDS)
