"""One LLM call per row: the engine beside promptfoo and beside promptflow's own batch run.

The model answers in 0.5 s +- 0.15; each run has a model server of its own, with the same sequence of latencies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from benchmarks import promptfoo_anchor
from benchmarks.commands import Timed
from benchmarks.engine import Engine
from benchmarks.harness import Finding, Goal, Incomplete, Options, Pairs, Sample, Skipped, finding, interleave, say
from benchmarks.model_server import model_server
from benchmarks.prompt_flows import llm_flow, promptflow_runtime, rows
from benchmarks.promptflow_anchor import Batch

LATENCY, JITTER = 0.5, 0.15  # seconds
IN_FLIGHT = 64
BATCH_WORKERS = 16  # its best on this kind of load: see docs/performance.md
ENGINE, FOO, BATCH = "engine, 64 in flight", "promptfoo -j 64", f"promptflow's batch, {BATCH_WORKERS} workers"

Sides = Mapping[str, Callable[[str], Timed]]


def run(options: Options) -> Iterator[Finding]:
    """100 rows beside both anchors, 400 rows beside promptfoo."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        yield from bench.compare(100, {FOO: Goal(at_most=0.85), BATCH: Goal(at_most=0.25)}, options)
        yield from bench.compare(400, {FOO: Goal(at_most=1.0)}, options, span=Goal(at_most=1.25))


class Bench:
    """Everything that is set up once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime = promptflow_runtime()
        self.flow = llm_flow(folder / "flow")
        self.promptfoo: Path | None = None
        try:
            self.promptfoo = promptfoo_anchor.install()
        except Skipped as reason:
            self.skipped = str(reason)

    def compare(
        self, count: int, goals: Mapping[str, Goal], options: Options, *, span: Goal | None = None
    ) -> Iterator[Finding]:
        """The engine beside each anchor that has a goal; then its span at the model server over the ideal one."""
        say(f"{count} rows")
        sides = self._sides(count)
        wanted = {name: side for name, side in sides.items() if name == ENGINE or name in goals}
        samples = interleave({n: partial(self._measured, side, count) for n, side in wanted.items()}, options.count(5))
        for name, goal in goals.items():
            if name in samples:
                yield Pairs(samples[ENGINE], samples[name]).finding(f"{count} rows: {ENGINE}", name, goal)
            else:
                yield Finding.missing(f"{count} rows: {ENGINE}", self.skipped, anchor=name)
        ideal = [sample.details["span_over_ideal"] for sample in samples[ENGINE]]
        yield finding(f"{count} rows: span at the model server", ideal, span, anchor="rows x latency / in flight")

    def _sides(self, count: int) -> Sides:
        data = rows(self.folder / f"data{count}.jsonl", count)
        engine = Engine(self.folder / "engine", self.flow, self.runtime, data, {"in_flight": IN_FLIGHT})
        batch = Batch(self.folder / "batch", self.flow, self.runtime, data, BATCH_WORKERS)
        sides: dict[str, Callable[[str], Timed]] = {ENGINE: engine.run, BATCH: batch.run}
        if self.promptfoo is not None:
            sides[FOO] = promptfoo_anchor.Promptfoo(self.promptfoo, self.folder / "promptfoo", data, IN_FLIGHT).run
        return sides

    def _measured(self, side: Callable[[str], Timed], count: int) -> Sample:
        with model_server({"latency": LATENCY, "jitter": JITTER}) as model:
            done = side(model.url)
            seen = model.stats()
        if seen["answered"] != count or seen["requests"] != count:
            raise Incomplete(f"the model answered {seen['answered']} of {seen['requests']} requests for {count} rows")
        span = seen["last_answer"] - seen["first_request"]
        details = {
            "span": span,
            "span_over_ideal": span / (count * LATENCY / IN_FLIGHT),
            "most_in_flight": seen["max_in_flight"],
            "model_cpu_seconds": seen["cpu_seconds"],
        }
        return Sample(done.seconds, done.cpu_seconds, details)
