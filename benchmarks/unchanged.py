"""`sluice run` with nothing to do, beside a Prefect flow of three empty tasks against the same running server.

The project is a copy of this one, released once before: its 200 and more rows are known, its endpoint serves.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.commands import ROOT, clean_environment, python, timed
from benchmarks.harness import Finding, Goal, Incomplete, Options, Pairs, Sample, finding, interleave, say
from benchmarks.promptflow_anchor import ANCHORS

LINKED = ("orchestration", "blocks", "runtime", "requirements", "prefect.yaml")
COPIED = ("flows", "config", "deployments")
PROMPT_FLOW = "named_entity_recognition"
SLUICE, BARE, HELP = "sluice run, unchanged", "a bare Prefect flow of three tasks", "sluice --help"
TIMEOUT_SECONDS = 300.0


def run(options: Options) -> Iterator[Finding]:
    """The run with nothing to do, and the help text."""
    with _released_project() as root:
        sides = {SLUICE: partial(_unchanged, root), BARE: partial(_timed, root, python(), ANCHORS / "bare_flow.py")}
        samples = interleave(sides, options.count(7))
        yield Pairs(samples[SLUICE], samples[BARE]).finding(SLUICE, BARE, Goal(at_most=1.5))
        helps = interleave({HELP: partial(_timed, root, _sluice(), "--help")}, options.count(7))[HELP]
        yield finding(f"{HELP}, seconds", [sample.value for sample in helps], Goal(at_most=0.4))


@contextmanager
def _released_project() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "project"
        (root / "home").mkdir(parents=True)
        for entry in LINKED:
            (root / entry).symlink_to(ROOT / entry)
        for entry in COPIED:
            shutil.copytree(ROOT / entry, root / entry)
        base = root / "config" / "base.yaml"
        base.write_text(f"{base.read_text()}\nruntimes_folder: {ROOT / '.sluice' / 'runtimes'}\n")
        try:
            say("  releasing once")
            _timed(root, _sluice(), "run", PROMPT_FLOW)
            yield root
        finally:
            _timed(root, _sluice(), "down")


def _unchanged(root: Path) -> Sample:
    sample = _timed(root, _sluice(), "run", PROMPT_FLOW, "--json")
    outcome = json.loads((root / "output.txt").read_text().splitlines()[-1])["outcome"]
    if outcome != "unchanged":
        raise Incomplete(f"sluice run ended with {outcome}, not unchanged")
    return sample


def _timed(root: Path, *argv: str | Path) -> Sample:
    done = timed(argv, cwd=root, environment=clean_environment(root / "home"), timeout_seconds=TIMEOUT_SECONDS)
    return Sample(done.seconds, done.cpu_seconds)


def _sluice() -> Path:
    return python().with_name("sluice")
