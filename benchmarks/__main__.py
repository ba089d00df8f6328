"""`python -m benchmarks [NAME ...]`: measure, write benchmarks/results/<name>.json, print a table. Exit code 1: a goal was missed."""

from __future__ import annotations

import argparse
import importlib
import platform
import re
import sys
from importlib import metadata
from typing import Any

from benchmarks import promptfoo_anchor
from benchmarks.commands import ROOT
from benchmarks.harness import (
    Finding,
    Incomplete,
    Options,
    Skipped,
    machine,
    say,
    table,
    wait_until_quiet,
    write,
)

NAMES = ("evaluation_llm", "evaluation_trivial", "rate_limit", "serving", "unchanged")
PACKAGES = ("sluicegate", "aiohttp", "prefect", "psutil")


def main() -> int:
    """Run the benchmarks that the command line names, or all; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition(":")[2].strip())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; all by default")
    parser.add_argument("--pairs", type=int, help="runs of each side that count")
    parser.add_argument("--quick", action="store_true", help="small and few: shows that it works, not how fast it is")
    parser.add_argument("--quiet-seconds", type=float, default=120, help="longest wait for a load average below 1")
    found = parser.parse_args()
    if unknown := set(found.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    rows: list[tuple[str, Finding]] = []
    for name in found.names or NAMES:
        wait_until_quiet(0 if found.quick else found.quiet_seconds)
        rows += [(name, one) for one in _run(name, Options(found.pairs, found.quick))]
    print(table(rows))
    return int(any(one.met is False for _, one in rows))


def _run(name: str, options: Options) -> list[Finding]:
    say(f"{name}:")
    findings: list[Finding] = []
    conditions: dict[str, Any] = {"quick": options.quick, "versions": _versions()}
    with machine(conditions):
        try:
            findings.extend(importlib.import_module(f"benchmarks.{name}").run(options))
        except Skipped as reason:
            findings.append(Finding.missing(name, str(reason)))
        except Incomplete as reason:
            say(str(reason))
            findings.append(Finding.missing(name, str(reason).partition("\n")[0], failed=True))
    write(name, findings, conditions)
    return findings


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "system": platform.platform()}
    versions |= {package: metadata.version(package) for package in PACKAGES}
    pinned = re.search(r"^promptflow==(\S+)", (ROOT / "requirements" / "promptflow.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    return versions | {"promptflow": pinned[1], "promptfoo": promptfoo_anchor.version()}


if __name__ == "__main__":
    sys.exit(main())
