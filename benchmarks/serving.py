"""One prompt flow served: our deployment server beside `pf flow serve`, and what the gateway adds.

Both servers live at the same time and are called in turn. The model, where there is one, answers at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.harness import Finding, Goal, Options, Pairs, Sample, finding, interleave, say
from benchmarks.load import Load, apply
from benchmarks.model_server import model_server
from benchmarks.prompt_flows import llm_flow, trivial_flow
from benchmarks.servers import Address, local_endpoint, our_server, promptflow_server, serving_runtime

SECONDS, QUICK_SECONDS = 5.0, 1.5
IN_FLIGHT = (1, 16)
OURS, ANCHOR, GATEWAY = "deployment server", "pf flow serve", "through the gateway"
BODY, EXPECTED = '{"text": "The ferry of the harbour line was late again."}', '"answer"'


def run(options: Options) -> Iterator[Finding]:
    """Requests per second and p99 of two prompt flows; then the gateway's part of p50."""
    seconds = QUICK_SECONDS if options.quick else SECONDS
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, runtime = Path(name), serving_runtime()
        model = stack.enter_context(model_server({}))
        flows = {
            "python node": (trivial_flow(folder / "trivial"), None),
            "LLM node": (llm_flow(folder / "llm"), model.url),
        }
        for what, (flow, url) in flows.items():
            with (
                our_server(folder / f"our {what}", flow, runtime, url) as ours,
                promptflow_server(folder / f"pf {what}", flow, runtime, url) as theirs,
            ):
                yield from _compare(what, {OURS: ours, ANCHOR: theirs}, options.count(5), seconds)
        yield from _gateway(folder, flows["python node"][0], runtime, options.count(5), seconds)


def _compare(what: str, sides: Mapping[str, Address], pairs: int, seconds: float) -> Iterator[Finding]:
    for in_flight in IN_FLIGHT:
        say(f"  {what}, {in_flight} in flight")
        rate, slowest = _samples(sides, in_flight, pairs, seconds)
        label = f"{what}, {in_flight} in flight"
        yield rate.finding(f"{label}: requests/s, {OURS}", ANCHOR, Goal(at_least=1.2))
        yield slowest.finding(f"{label}: p99, {OURS}", ANCHOR, Goal(at_most=1.0))


def _samples(sides: Mapping[str, Address], in_flight: int, pairs: int, seconds: float) -> tuple[Pairs, Pairs]:
    runs = {name: partial(_measured, address, in_flight, seconds) for name, address in sides.items()}
    ours, theirs = interleave(runs, pairs).values()
    p99 = [[Sample(sample.details["p99"]) for sample in side] for side in (ours, theirs)]
    return Pairs(ours, theirs), Pairs(*p99)


def _gateway(folder: Path, flow: Path, runtime: Path, pairs: int, seconds: float) -> Iterator[Finding]:
    with (
        our_server(folder / "direct", flow, runtime, None) as direct,
        local_endpoint(folder / "state", flow, runtime) as gate,
    ):
        for in_flight in IN_FLIGHT:
            say(f"  gateway, {in_flight} in flight")
            runs = {n: partial(_measured, a, in_flight, seconds) for n, a in {GATEWAY: gate, OURS: direct}.items()}
            through, without = interleave(runs, pairs).values()
            added = [a.details["p50"] - b.details["p50"] for a, b in zip(through, without, strict=True)]
            goal = Goal(at_most=1.5) if in_flight == 1 else None
            yield finding(f"{in_flight} in flight: ms that the gateway adds to p50", added, goal)


def _measured(address: Address, in_flight: int, seconds: float) -> Sample:
    served = apply(Load(address.url, BODY, EXPECTED, dict(address.headers), in_flight, seconds))
    return Sample(served.requests_per_second, details={"p50": served.p50, "p99": served.p99})
