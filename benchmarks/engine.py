"""The subject of the evaluation benchmarks: the engine's own entry, as a process from start to exit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.commands import Arguments, Timed, python, python_environment, timed
from benchmarks.harness import Incomplete
from benchmarks.prompt_flows import CONNECTION

TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Engine:
    """One job over and over, each time with an empty row store. `fields` are those of an `EvaluationJob`."""

    folder: Path
    flow: Path
    runtime: Path
    data: Path
    fields: Mapping[str, Any] = field(default_factory=dict)

    def run(self, model_url: str | None = None) -> Timed:
        """Run every row. Raises `Incomplete` unless all of them completed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        job = self.folder / "job.json"
        job.write_text(json.dumps(self._job(model_url)))
        argv: Arguments = [python(), "-m", "orchestration.evaluation", job, "--json"]
        done = timed(
            argv, cwd=self.folder, environment=python_environment(self.folder), timeout_seconds=TIMEOUT_SECONDS
        )
        check(done.output, len(self.data.read_text().splitlines()))
        return done

    def _job(self, model_url: str | None) -> dict[str, Any]:
        upstreams = {CONNECTION: {"kind": "openai", "base_url": model_url}} if model_url else {}
        return {
            "flow": str(self.flow),
            "python": str(self.runtime),
            "data": str(self.data),
            "state": str(self.folder / "state"),
            "upstreams": upstreams,
            **self.fields,
        }


def check(output: str, rows: int) -> dict[str, Any]:
    """The summary in a run's output. Raises `Incomplete` unless all rows were run and completed."""
    summary: dict[str, Any] = json.loads(output.splitlines()[-1])
    if summary["completed"] != rows or summary["cached"]:
        raise Incomplete(
            f"{summary['completed']} of {rows} rows completed, {summary['cached']} cached: {output[-2000:]}"
        )
    return summary
