"""A load generator in a process of its own: so many requests in flight, for so long, always the same request.

`python -m benchmarks.load` reads `{url, headers, body, in_flight, seconds}` from standard input and prints what it saw
as one JSON object. The first tenth is not counted.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp

from benchmarks.commands import ROOT, clean_environment, python
from benchmarks.harness import Incomplete

TIMEOUT_SECONDS = 30.0
WARM_UP = 0.1  # of the time


@dataclass(frozen=True, slots=True)
class Load:
    """What to send. `expected` must be in every answer."""

    url: str
    body: str
    expected: str
    headers: dict[str, str]
    in_flight: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Served:
    """Latencies are in milliseconds."""

    requests: int
    errors: int
    requests_per_second: float
    p50: float
    p99: float


def apply(load: Load) -> Served:
    """Run it in a process of its own. Raises `Incomplete` if any answer was wrong."""
    done = subprocess.run(
        [python(), "-m", "benchmarks.load"],
        cwd=ROOT,
        env=clean_environment(ROOT / ".sluice"),
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        timeout=load.seconds + 2 * TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise Incomplete(f"the load generator failed: {done.stderr[-500:]}")
    served = Served(**json.loads(done.stdout))
    if served.errors or not served.requests:
        raise Incomplete(f"{served.errors} wrong answers beside {served.requests} right ones from {load.url}")
    return served


async def send(load: Load) -> Served:
    """Send requests until the time is up."""
    seen: list[tuple[float, float]] = []  # when it ended, milliseconds
    errors: list[str] = []
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=load.in_flight)
    headers = {"Content-Type": "application/json", **load.headers}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers) as session:
        began = time.perf_counter()

        async def one_after_the_other() -> None:
            while (start := time.perf_counter()) < began + load.seconds:
                async with session.post(load.url, data=load.body) as answer:
                    text = await answer.text()
                end = time.perf_counter()
                seen.append((end, (end - start) * 1000))
                if answer.status != 200 or load.expected not in text:
                    errors.append(text)

        await asyncio.gather(*(one_after_the_other() for _ in range(load.in_flight)))
    return _summary(seen, len(errors), began + load.seconds * WARM_UP)


def _summary(seen: list[tuple[float, float]], errors: int, since: float) -> Served:
    counted = [(end, latency) for end, latency in seen if end >= since]
    latencies = [latency for _, latency in counted]
    cuts = statistics.quantiles(latencies, n=100)
    last = max(end for end, _ in counted)
    return Served(len(counted), errors, len(counted) / (last - since), cuts[49], cuts[98])


def main() -> None:
    given: dict[str, Any] = json.load(sys.stdin)
    print(json.dumps(asdict(asyncio.run(send(Load(**given))))))


if __name__ == "__main__":
    main()
