"""A model with rate limits: how much of the limit the engine uses, and how often it is refused. No row may be lost.

The model allows so many requests and tokens per minute, with a burst of one second, and tells it by `x-ratelimit`
headers, by `Retry-After` alone, or not at all; in some runs both limits are halved in mid-run. The share is what was
admitted over what could have been until the last request came. Without any hint the first seconds, in which the limit
is found, are left out of the share, but not of the refusals.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.engine import Engine
from benchmarks.harness import Finding, Goal, Options, finding, say
from benchmarks.model_server import ModelServer, model_server
from benchmarks.prompt_flows import MAX_TOKENS, llm_flow, promptflow_runtime, rows

REQUESTS_PER_MINUTE, PLENTY = 1200.0, 1e6
TOKENS_PER_MINUTE = 90_000.0  # about 750 of our requests
LATENCY, JITTER = 0.2, 0.1  # seconds
IN_FLIGHT = 64
SAMPLE_SECONDS = 0.25
RAMP_SECONDS = 15.0
HINTS = {"yes": "with headers", "retry-after": "with Retry-After", "none": "without a hint"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run. `limit` is what binds, `requests` or `tokens`; `halved_at` is in seconds, if at all."""

    hints: str
    limit: str
    seconds: float
    halved_at: float | None = None

    def __str__(self) -> str:
        halved = f", halved at {self.halved_at:g} s" if self.halved_at else ""
        return f"limit of {self.limit} {HINTS[self.hints]}{halved}"

    @property
    def ramp(self) -> float:
        return min(RAMP_SECONDS, self.seconds / 3) if self.hints == "none" else 0.0

    def allowed(self, begin: float, end: float) -> float:
        """Units that the limit lets through between these seconds of the run, from its start with the burst."""
        rate = (REQUESTS_PER_MINUTE if self.limit == "requests" else TOKENS_PER_MINUTE) / 60
        halved = self.halved_at if self.halved_at is not None else end
        full, half = max(0.0, min(end, halved) - begin), max(0.0, end - max(begin, halved))
        return rate * (full + half / 2 + (1.0 if begin == 0 else 0.0))

    def options(self) -> dict[str, str | float]:
        """For the model server."""
        limits = {"requests-per-minute": REQUESTS_PER_MINUTE, "tokens-per-minute": PLENTY}
        if self.limit == "tokens":
            limits = {"requests-per-minute": REQUESTS_PER_MINUTE, "tokens-per-minute": TOKENS_PER_MINUTE}
        change = {"limit-change": f"0.5@{self.halved_at}"} if self.halved_at else {}
        return {"latency": LATENCY, "jitter": JITTER, "rate-headers": self.hints, **limits, **change}

    def goals(self) -> tuple[Goal, Goal]:
        """For the share of the limit, and the share of refusals."""
        if self.hints == "none":
            return Goal(at_least=0.8), Goal(at_most=0.05)
        return Goal(at_least=0.95), Goal(at_most=0.01)


def scenarios(options: Options) -> list[Scenario]:
    """Steady and halved limits of requests, and steady ones of tokens, each with all kinds of hints."""
    short = 0.25 if options.quick else 1.0
    usual, longer = 40 * short, 60 * short
    return [
        Scenario(hints, limit, seconds, seconds / 2 if halved else None)
        for hints, seconds in (("yes", usual), ("retry-after", usual), ("none", longer))
        for limit, halved in (("requests", False), ("requests", True), ("tokens", False))
    ]


def run(options: Options) -> Iterator[Finding]:
    """Each scenario, `pairs` times (there is no anchor)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runtime, flow = promptflow_runtime(), llm_flow(folder / "flow")
        for scenario in scenarios(options):
            data = rows(folder / "data.jsonl", _rows(scenario))
            engine = Engine(folder / "engine", flow, runtime, data, {"in_flight": IN_FLIGHT})
            runs = [_measured(engine, scenario) for _ in range(options.count(1))]
            say(f"  {scenario}: {runs}")
            used, refused = scenario.goals()
            yield finding(f"{scenario}: share used", [share for share, _ in runs], used)
            yield finding(f"{scenario}: answers 429", [refusals for _, refusals in runs], refused)


def _rows(scenario: Scenario) -> int:
    units = scenario.allowed(0, scenario.seconds)
    return int(units if scenario.limit == "requests" else units / (TOKENS_PER_MINUTE / 750))


def _measured(engine: Engine, scenario: Scenario) -> tuple[float, float]:
    """Share of the limit used and share of refusals. Raises `Incomplete` if a row was lost."""
    with model_server(scenario.options()) as model:
        with _watched(model) as seen:
            engine.run(model.url)
        final = model.stats()
    return _share(scenario, seen, final), final["rate_limited"] / final["requests"]


def _share(scenario: Scenario, seen: list[dict[str, Any]], final: dict[str, Any]) -> float:
    began, ended = final["first_request"], final["last_request"]
    unit = 1.0
    if scenario.limit == "tokens":  # a provider charges the prompt and the longest answer that was asked for
        unit = final["prompt_tokens"] / final["answered"] + MAX_TOKENS
    if not scenario.ramp:
        return _admitted(final) * unit / scenario.allowed(0, ended - began)
    start = next(one for one in seen if one["at"] >= began + scenario.ramp)
    return (_admitted(final) - _admitted(start)) * unit / scenario.allowed(start["at"] - began, ended - began)


def _admitted(stats: dict[str, Any]) -> int:
    return int(stats["requests"] - stats["rate_limited"])


@contextmanager
def _watched(model: ModelServer) -> Iterator[list[dict[str, Any]]]:
    """What the model server has seen, again and again, with the time."""
    seen: list[dict[str, Any]] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            seen.append({**model.stats(), "at": time.time()})

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
