"""promptflow's own ways as an anchor: its batch run, with everything that only costs time switched off."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import Arguments, Timed, clean_environment, timed

ANCHORS = Path(__file__).parent / "anchors"
TIMEOUT_SECONDS = 600.0
_SETTINGS = "telemetry: {enabled: false}\ntrace: {destination: none}\n"


@dataclass(frozen=True, slots=True)
class Batch:
    """`PFClient.run` in a fresh process with a home of its own, again and again."""

    folder: Path
    flow: Path
    runtime: Path
    data: Path
    workers: int

    def run(self, model_url: str | None = None) -> Timed:
        """Run every row. Raises `Incomplete` unless all of them completed."""
        environment = promptflow_environment(self.folder, PF_WORKER_COUNT=str(self.workers))
        rows = str(len(self.data.read_text().splitlines()))
        address = [f"{model_url}/v1"] if model_url else []
        argv: Arguments = [self.runtime, ANCHORS / "batch.py", self.flow, self.data, rows, *address]
        return timed(argv, cwd=self.folder, environment=environment, timeout_seconds=TIMEOUT_SECONDS)


def promptflow_environment(home: Path, **more: str) -> dict[str, str]:
    """A fresh home for promptflow, without telemetry, traces, and the services behind them."""
    shutil.rmtree(home, ignore_errors=True)
    (home / ".promptflow").mkdir(parents=True)
    (home / ".promptflow" / "pf.yaml").write_text(_SETTINGS)
    return clean_environment(
        home,
        PF_HOME_DIRECTORY=str(home / ".promptflow"),
        APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED="true",
        PYTHON_KEYRING_BACKEND="fixed_keyring.FixedKeyring",
        PYTHONPATH=str(ANCHORS),
        **more,
    )
