"""Progress: counted in one place, shown without flooding a log."""

from __future__ import annotations

import io

from orchestration.evaluation.outcomes import Ended, failed
from orchestration.evaluation.progress import Meter, ProgressLine, describe
from orchestration.values import Status, Tokens


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def meter(now=lambda: 0.0):
    counted = Meter(None, now=now)
    counted.stage("rows", 10)
    return counted


def test_counts_and_the_time_left_come_from_the_rows_that_were_run():
    clock = [0.0]
    counted = meter(lambda: clock[0])
    counted.cached(4)
    assert counted.now().eta is None
    clock[0] = 6.0
    counted.ended(Ended(Status.COMPLETED, {}, tokens=Tokens(3, 4)))
    counted.ended(failed("Raised", "x"))
    progress = counted.now()
    assert (progress.done, progress.failed, progress.cached, progress.tokens) == (6, 1, 4, 7)
    assert progress.eta == 12.0
    assert describe(progress) == "rows 6/10, 1 failed, 4 cached, 7 tokens, 6 s, about 12 s left"


def show(stream, seconds, step):
    clock = [0.0]
    counted = meter(lambda: clock[0])
    with ProgressLine(stream, now=lambda: clock[0]) as line:
        for tick in range(int(seconds / step) + 1):
            clock[0] = tick * step
            if tick % 20 == 0 and counted.now().done < 10:
                counted.cached(1)
            line(counted.now())
    return stream.getvalue()


def test_a_log_gets_a_line_every_few_seconds_and_the_last_one():
    lines = show(io.StringIO(), 10, 0.05).splitlines()
    assert [line.split(",")[0] for line in lines] == ["rows 1/10", "rows 6/10", "rows 10/10"]


def test_a_terminal_has_one_line_that_is_rewritten():
    text = show(Terminal(), 2, 0.05)
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text.count("\r\x1b[K") > 5
