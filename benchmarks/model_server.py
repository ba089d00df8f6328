"""The embedded model as a process of its own: the model provider of both sides, and the witness of what they did."""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.commands import Arguments, background, python, python_environment


@dataclass(frozen=True, slots=True)
class ModelServer:
    """`url` has no path."""

    url: str

    def stats(self) -> dict[str, Any]:
        """What it has seen so far; see orchestration/embedded_model/statistics.py."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=10) as answer:
            seen: dict[str, Any] = json.load(answer)
            return seen


@contextmanager
def model_server(options: Mapping[str, str | float]) -> Iterator[ModelServer]:
    """Serve while the block runs; `options` are those of the command, without dashes. A fresh one starts at zero."""
    flags = [f"--{name}={value}" for name, value in options.items()]
    argv: Arguments = [python(), "-m", "orchestration.embedded_model", "--until-eof", *flags]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with background(argv, cwd=home, environment=python_environment(home), log=home / "log", speaks=True) as process:
            assert process.stdout is not None
            yield ModelServer(process.stdout.readline().strip())
