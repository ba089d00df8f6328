"""How far an evaluation is: counted here, and shown on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

from orchestration.evaluation.job import Progress
from orchestration.evaluation.outcomes import Ended
from orchestration.values import Status

LINE_SECONDS = 5.0
REDRAW_SECONDS = 0.1


class Meter:
    """Counts ended rows and passes a `Progress` on."""

    def __init__(self, report: Callable[[Progress], None] | None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._report, self._now = report, now
        self._started = now()
        self.stage("rows", 0)

    def stage(self, name: str, expected: int) -> None:
        """A new stage begins, with so many rows."""
        self._name, self._expected, self._begun = name, expected, self._now()
        self._done = self._failed = self._cached = self._tokens = 0

    def cached(self, rows: int) -> None:
        """So many rows needn't be run."""
        self._cached += rows
        self._done += rows

    def ended(self, how: Ended) -> None:
        """One row has ended."""
        self._done += 1
        self._failed += how.status is Status.FAILED
        self._tokens += how.tokens.total

    def report(self) -> None:
        """Pass on how far it is now."""
        if self._report is not None:
            self._report(self.now())

    def now(self) -> Progress:
        """How far it is now."""
        return Progress(
            self._name,
            self._done,
            self._expected,
            self._failed,
            self._cached,
            self._tokens,
            self._now() - self._started,
            self._eta(),
        )

    def _eta(self) -> float | None:
        """Seconds left at the speed of the rows that were really run."""
        ran, left = self._done - self._cached, self._expected - self._done
        if not left:
            return 0.0
        return (self._now() - self._begun) / ran * left if ran else None


class ProgressLine:
    """Shows progress on a stream: one line that is rewritten on a terminal, else a line every few seconds.

    Use as a context manager: leaving it ends the line.
    """

    def __init__(self, stream: TextIO | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._now = now
        self._terminal = self._stream.isatty()
        self._shown_at = -1e9
        self._shown: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        pause = REDRAW_SECONDS if self._terminal else LINE_SECONDS
        complete = progress.done == progress.expected
        if progress != self._shown and (complete or self._now() - self._shown_at >= pause):
            self._show(progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal and self._shown is not None:
            self._write("\n")

    def _show(self, progress: Progress) -> None:
        if self._shown is not None and self._same(progress, self._shown):
            return
        self._shown, self._shown_at = progress, self._now()
        self._write(f"\r\x1b[K{describe(progress)}" if self._terminal else f"{describe(progress)}\n")

    def _same(self, one: Progress, other: Progress) -> bool:
        """On a log, a line that says nothing new is not written."""
        if self._terminal:
            return False
        return (one.stage, one.done, one.expected) == (other.stage, other.done, other.expected)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def describe(progress: Progress) -> str:
    """`rows 40/100, 2 failed, 10 cached, 1234 tokens, 12 s, 20 s left`."""
    parts = [f"{progress.stage} {progress.done}/{progress.expected}"]
    parts += [f"{progress.failed} failed"] if progress.failed else []
    parts += [f"{progress.cached} cached"] if progress.cached else []
    parts += [f"{progress.tokens} tokens"] if progress.tokens else []
    parts.append(f"{progress.seconds:.0f} s")
    parts += [f"about {progress.eta:.0f} s left"] if progress.eta else []
    return ", ".join(parts)
