"""What all benchmarks share: two sides in turn, their ratio, a goal, a result as JSON and as a row of a table."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).parent / "results"
QUIET_LOAD = 1.0
MOST_FAILURES = 2


class Incomplete(Exception):
    """A run that failed or did not do all of its work: it has no time, and the benchmark no ratio."""


class Skipped(Exception):
    """The benchmark can't be run here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Options:
    """`pairs`: so many of each side (None: the benchmark's own number). `quick`: small, to see that it works."""

    pairs: int | None = None
    quick: bool = False

    def count(self, usual: int, quick: int = 1) -> int:
        """How many pairs to run."""
        return self.pairs or (quick if self.quick else usual)


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one side: a figure to compare (seconds, or requests per second), and what else was seen."""

    value: float
    cpu_seconds: float | None = None
    details: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Goal:
    """`at_most` or `at_least` (the other one is None)."""

    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        """Whether the value reaches it; NaN, no figure, never does."""
        low = self.at_least is None or value >= self.at_least
        high = self.at_most is None or value <= self.at_most
        return low and high and not math.isnan(value)

    def __str__(self) -> str:
        low = "" if self.at_least is None else f">= {self.at_least:g}"
        high = "" if self.at_most is None else f"<= {self.at_most:g}"
        return " ".join(filter(None, (low, high)))


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure and its goal (None: only shown). `value` is a median over `n` runs, `spread` their lowest and highest.

    `anchor` is what it is a ratio to; empty for a figure of its own.
    """

    what: str
    value: float
    spread: tuple[float, float]
    n: int
    goal: Goal | None = None
    anchor: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def met(self) -> bool | None:
        """None if there is no goal, or nothing to measure here."""
        return None if self.goal is None else self.goal.met(self.value)

    @classmethod
    def missing(cls, what: str, problem: str, *, anchor: str = "", failed: bool = False) -> Finding:
        """No figure: it was skipped, or a run failed, which counts as a goal that was missed."""
        return cls(what, math.nan, (math.nan, math.nan), 0, Goal() if failed else None, anchor, problem=problem)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Runs of subject and anchor, taken in turn: those of the same position belong together."""

    subject: Sequence[Sample]
    anchor: Sequence[Sample]

    @property
    def ratios(self) -> list[float]:
        """Subject to anchor, pair by pair."""
        return [one.value / other.value for one, other in zip(self.subject, self.anchor, strict=True)]

    def finding(self, what: str, anchor: str, goal: Goal | None) -> Finding:
        """The median ratio, with the figures that it comes from."""
        sides = {"subject": self.subject, "anchor": self.anchor}
        return finding(what, self.ratios, goal, anchor=anchor, details={k: describe(v) for k, v in sides.items()})


def finding(
    what: str,
    values: Sequence[float],
    goal: Goal | None,
    *,
    anchor: str = "",
    details: Mapping[str, Any] | None = None,
) -> Finding:
    """The median of the values with their spread."""
    spread = (min(values), max(values))
    return Finding(what, statistics.median(values), spread, len(values), goal, anchor, details or {})


def interleave(
    sides: Mapping[str, Callable[[], Sample]], pairs: int, *, warm_up: bool = True
) -> dict[str, list[Sample]]:
    """Run the sides in turn, A B A B; the first round is not counted.

    A round in which a run fails is left out with all its runs and repeated; `Incomplete` is raised for the third one.
    """
    rounds: list[dict[str, Sample]] = []
    failures = 0
    while len(rounds) < pairs + warm_up:
        say("  warm-up" if warm_up and not rounds else f"  round {len(rounds) + 1 - warm_up} of {pairs}")
        try:
            rounds.append({name: _noted(name, run()) for name, run in sides.items()})
        except Incomplete as failure:
            failures += 1
            if failures > MOST_FAILURES:
                raise
            say(f"  left out: {failure}")
    return {name: [samples[name] for samples in rounds[int(warm_up) :]] for name in sides}


def _noted(name: str, sample: Sample) -> Sample:
    cpu = "" if sample.cpu_seconds is None else f"cpu {sample.cpu_seconds:.3g} "
    say(f"    {name}: {sample.value:.4g} {cpu}{shown(sample.details)}")
    return sample


def describe(samples: Sequence[Sample]) -> dict[str, Any]:
    """All values, and the medians of what else was seen."""
    cpu = [sample.cpu_seconds for sample in samples if sample.cpu_seconds is not None]
    details = {name: statistics.median(s.details[name] for s in samples) for name in samples[0].details}
    return {"values": [s.value for s in samples], "cpu_seconds": statistics.median(cpu) if cpu else None, **details}


@contextmanager
def machine(into: dict[str, Any]) -> Iterator[None]:
    """Note how busy the machine was before and meanwhile: `load` at the start, share of CPU used, and the time."""
    into |= {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "load_before": os.getloadavg()[0], "cpus": os.cpu_count()}
    psutil.cpu_percent()
    yield
    into |= {"load_after": os.getloadavg()[0], "cpu_percent": psutil.cpu_percent()}


def wait_until_quiet(seconds: float) -> None:
    """Wait for a load average below 1, but not longer than that."""
    deadline = time.monotonic() + seconds
    while os.getloadavg()[0] >= QUIET_LOAD and time.monotonic() < deadline:
        time.sleep(2)


def write(name: str, findings: Sequence[Finding], conditions: Mapping[str, Any]) -> Path:
    """Write `results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    listed = [{**asdict(f), "met": f.met} for f in findings]
    path.write_text(json.dumps({"name": name, **conditions, "findings": listed}, indent=1) + "\n")
    return path


def table(rows: Sequence[tuple[str, Finding]]) -> str:
    """All findings, for people."""
    cells = [("benchmark", "figure", "median", "spread", "n", "goal", "")]
    for name, f in rows:
        verdict = {True: "met", False: "MISSED", None: ""}[f.met]
        against = f"{f.what} : {f.anchor}" if f.anchor else f.what
        figures = (
            (f.problem, "", "") if f.problem else (f"{f.value:.3g}", f"{f.spread[0]:.3g}-{f.spread[1]:.3g}", f"{f.n}")
        )
        cells.append((name, against, *figures, str(f.goal or ""), verdict))
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def shown(details: Mapping[str, float]) -> str:
    """`span 3.9, cpu 8.1`."""
    return ", ".join(f"{name} {value:.3g}" for name, value in details.items())


def say(text: str) -> None:
    """A line for who waits."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
