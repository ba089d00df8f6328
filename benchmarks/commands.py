"""Runs commands: timed ones from start to exit, and servers that live for a while."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Incomplete

Arguments = Sequence[str | Path]
ROOT = Path(__file__).resolve().parents[1]
END_SECONDS = 10.0
LAST_WORDS = 3000  # characters


@dataclass(frozen=True, slots=True)
class Timed:
    """A command's run: wall seconds from before its start to its exit, CPU seconds with all its reaped children."""

    seconds: float
    cpu_seconds: float
    output: str


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """A small environment with a home of its own: nobody's settings, no services to report to."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")
    return {k: os.environ[k] for k in kept if k in os.environ} | {"HOME": str(home), "NO_PROXY": "*"} | more


def timed(argv: Arguments, *, cwd: Path, environment: Mapping[str, str], timeout_seconds: float) -> Timed:
    """Run a command. Raises `Incomplete` if it fails or takes too long."""
    output = cwd / "output.txt"
    with output.open("wb") as file:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0
        )
        timer = _killer(process.pid, timeout_seconds)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind would disturb the next run
    process.returncode = os.waitstatus_to_exitcode(status)
    timer.cancel()
    text = output.read_text(errors="replace")
    if process.returncode != 0:
        raise Incomplete(f"{Path(argv[0]).name} ended with {process.returncode}:\n{text[-LAST_WORDS:]}")
    return Timed(seconds, usage.ru_utime + usage.ru_stime, text)


@contextmanager
def background(
    argv: Arguments,
    *,
    cwd: Path,
    environment: Mapping[str, str],
    log: Path,
    pass_fds: Sequence[int] = (),
    speaks: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """A server that is gone afterwards. One that `speaks` has a `stdout` for the caller to read, else it goes to the log."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if speaks else errors,
            stderr=errors,
            text=True,
            pass_fds=pass_fds,
            process_group=0,
        )
    try:
        yield process
    finally:
        _end(process)


def python_environment(home: Path, **more: str) -> dict[str, str]:
    """For a process of this project's own environment."""
    return clean_environment(home, PYTHONPATH=str(ROOT), **more)


def python() -> Path:
    """The interpreter of this project's environment."""
    return Path(sys.executable)


def _killer(pid: int, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, lambda: os.killpg(pid, signal.SIGKILL))
    timer.daemon = True
    timer.start()
    return timer


def _end(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
