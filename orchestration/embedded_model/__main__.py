"""`python -m orchestration.embedded_model`: the embedded model as a process of its own. Prints its address."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence

from orchestration.embedded_model.chat import DESCRIPTION
from orchestration.embedded_model.options import EmbeddedModelOptions, LimitChange
from orchestration.embedded_model.server import embedded_model
from orchestration.errors import ConfigurationError


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT, SIGTERM or, with `--until-eof`, the end of standard input. 64: wrong arguments."""
    found = _parser().parse_args(arguments)
    try:
        options = _options(found)
        asyncio.run(_serve(options, until_eof=found.until_eof))
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 64
    except OSError as error:
        sys.stderr.write(f"embedded model: port {found.port}: {error.strerror}. Name another, or 0 for a free one.\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m orchestration.embedded_model", description=DESCRIPTION)
    add = parser.add_argument
    add("--port", type=int, default=0, help="0 takes a free one")
    add("--latency", type=float, default=0.0, metavar="SECONDS")
    add("--jitter", type=float, default=0.0, metavar="SECONDS", help="latency is uniform in LATENCY ± this")
    add("--requests-per-minute", type=float, metavar="N")
    add("--tokens-per-minute", type=float, metavar="N")
    add("--rate-headers", choices=("yes", "retry-after", "none"), default="yes")
    add("--limit-change", action="append", default=[], metavar="FACTOR@SECONDS", help="0.5@20: halved after 20 s")
    add("--error-rate", type=float, default=0.0, metavar="SHARE", help="share of requests that get a 500")
    add("--seed", type=int, default=0, help="of latencies and errors")
    add("--until-eof", action="store_true", help="end when standard input ends, that is with the parent")
    return parser


def _options(found: argparse.Namespace) -> EmbeddedModelOptions:
    return EmbeddedModelOptions(
        port=found.port,
        latency_seconds=found.latency,
        jitter_seconds=found.jitter,
        requests_per_minute=found.requests_per_minute,
        tokens_per_minute=found.tokens_per_minute,
        rate_headers=found.rate_headers,
        limit_changes=tuple(LimitChange.parse(text) for text in found.limit_change),
        error_rate=found.error_rate,
        seed=found.seed,
    )


async def _serve(options: EmbeddedModelOptions, *, until_eof: bool) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    if until_eof:
        threading.Thread(target=_watch_input, args=(loop, ended), daemon=True).start()
    async with embedded_model(options) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await ended.wait()


def _watch_input(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """In a thread, because an event loop can't watch every kind of file; `os.read` holds no lock at exit."""
    while os.read(0, 65536):
        pass
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    sys.exit(main())
