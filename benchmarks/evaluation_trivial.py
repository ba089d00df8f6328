"""Rows that take no time: what the engine itself costs per row, beside promptflow's own batch run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.commands import Timed
from benchmarks.engine import Engine
from benchmarks.harness import Finding, Goal, Options, Pairs, Sample, interleave
from benchmarks.prompt_flows import promptflow_runtime, rows, trivial_flow
from benchmarks.promptflow_anchor import Batch

ROWS = 5000
BATCH_WORKERS = 4  # its default
ENGINE, BATCH = f"{ROWS} rows: engine", f"promptflow's batch, {BATCH_WORKERS} workers"


def run(options: Options) -> Iterator[Finding]:
    """5,000 rows of one python node."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runtime, flow = promptflow_runtime(), trivial_flow(folder / "flow")
        data = rows(folder / "data.jsonl", ROWS)
        engine = Engine(folder / "engine", flow, runtime, data)
        batch = Batch(folder / "batch", flow, runtime, data, BATCH_WORKERS)
        sides = {ENGINE: partial(_measured, engine.run), BATCH: partial(_measured, batch.run)}
        samples = interleave(sides, options.count(3), warm_up=not options.quick)
        yield Pairs(samples[ENGINE], samples[BATCH]).finding(ENGINE, BATCH, Goal(at_most=0.2))


def _measured(side: Callable[[], Timed]) -> Sample:
    done = side()
    return Sample(done.seconds, done.cpu_seconds)
