"""What user code can do to the runner, through the real process: innocent rows are never harmed for good."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time

import psutil
import pytest
from runner_fixture import Runner, assert_gone, make_callable

FLOW = r"""
import ctypes, os, re, signal, subprocess, sys, threading, time

def run(do: str):
    return DEEDS.get(do, lambda: do.upper())()

def catastrophic():
    re.match(r"(a+)+$", "a" * 64 + "b")

def divide():
    return 1 / 0

def child_output():
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    return "printed"

def pass_pipes_to_child():
    if os.fork() == 0:   # the child keeps the worker's pipe open
        time.sleep(600)
    os._exit(9)

def spawn_sleeper():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)

DEEDS = {
    "raise": divide,
    "sys.exit": lambda: sys.exit(4),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "exit": lambda: os._exit(3),
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(600),
    "hold": catastrophic,
    "print": lambda: print("x" * 200_000) or "printed",
    "write": lambda: os.write(1, b'{"type": "result"}\n') and "wrote",
    "child": child_output,
    "stdin": lambda: sys.stdin.read() + "nothing",
    "big": lambda: "x" * 20_000_000,
    "nan": lambda: float("nan"),
    "set": lambda: {1, 2},
    "odd keys": lambda: {"answer": {(1, 2): 3}},
    "endless": lambda: endless(),
    "emoji": lambda: "\N{GRINNING FACE}\u2028\r\n\ud800",
    "threads": lambda: threading.active_count(),
    "keep pipes": pass_pipes_to_child,
    "sleeper": spawn_sleeper,
    "bad str": lambda: (_ for _ in ()).throw(Nameless()),
}

class Nameless(Exception):
    def __str__(self):
        raise ValueError

def endless():
    value = []
    value.append(value)
    return value
"""
INNOCENT = {f"i{n}": {"do": f"fine {n}"} for n in range(4)}


@pytest.fixture
def flow(tmp_path):
    return make_callable(tmp_path / "faults", FLOW)


def line_of(text):
    return next(n for n, line in enumerate(FLOW.splitlines(), 1) if text in line)


def assert_innocent(ended):
    assert {row: ended[row]["output"]["answer"] for row in INNOCENT} == {
        r: i["do"].upper() for r, i in INNOCENT.items()
    }


@pytest.mark.parametrize(
    ("deed", "code", "message", "where"),
    [
        ("raise", "Raised", "ZeroDivisionError: division by zero", "return 1 / 0"),
        ("sys.exit", "Raised", "SystemExit: 4", "sys.exit(4)"),
        ("interrupt", "Raised", "KeyboardInterrupt", "throw(KeyboardInterrupt())"),
        ("bad str", "Raised", "Nameless", "throw(Nameless())"),
        ("nan", "BadOutput", "ValueError", ""),
        ("set", "BadOutput", "TypeError", ""),
        ("odd keys", "BadOutput", "TypeError", ""),
        ("endless", "BadOutput", "ValueError", ""),
    ],
)
def test_row_fails_cleanly(flow, deed, code, message, where):
    with Runner(flow) as runner:
        runner.ready()
        ended = runner.run({**INNOCENT, "bad": {"do": deed}})
        assert_innocent(ended)
        assert ended["bad"]["status"] == "failed"
        error = ended["bad"]["error"]
        assert (error["code"], error["where"]) == (code, where and f"flow.py:{line_of(where)}")
        assert message in error["message"]
        assert "\n" not in error["message"]


@pytest.mark.parametrize(
    ("deed", "answer"),
    [
        ("print", "printed"),
        ("write", "wrote"),
        ("child", "printed"),
        ("stdin", "nothing"),
        ("big", "x" * 20_000_000),
        ("emoji", "\N{GRINNING FACE}\u2028\r\n\ud800"),
    ],
)
def test_row_survives(flow, deed, answer):
    with Runner(flow) as runner:
        runner.ready()
        ended = runner.run({**INNOCENT, "odd": {"do": deed}})
        assert_innocent(ended)
        assert ended["odd"]["output"] == {"answer": answer}


@pytest.mark.parametrize(
    ("deed", "cause"),
    [
        ("exit", "exit code 3"),
        ("segfault", "signal 11"),
        ("kill", "signal 9"),
        ("hold", "unresponsive for 1 s"),
        ("keep pipes", "exit code 9"),
    ],
)
def test_only_the_culprit_is_lost_when_suspects_run_alone(flow, deed, cause):
    with Runner(flow, unresponsive_seconds=1) as runner:
        runner.ready()
        rows = {**INNOCENT, "bad": {"do": deed}}
        ended = runner.run(rows)
        suspects = {row: rows[row] for row, end in ended.items() if isinstance(end, str)}
        assert "bad" in suspects
        assert {ended[row] for row in suspects} == {cause}
        ended |= runner.run(suspects, alone=True)
        assert ended["bad"] == cause
        assert_innocent(ended)


def test_lost_names_every_row_in_flight_and_the_next_rows_run(flow):
    with Runner(flow) as runner:
        runner.ready()
        for row in ("h1", "h2"):
            runner.send(type="row", id=row, inputs={"do": "hang"}, alone=False)
            assert runner.next() == {"type": "started", "id": row}
        runner.send(type="row", id="bad", inputs={"do": "exit"}, alone=False)
        assert runner.next("lost") == {"type": "lost", "ids": ["h1", "h2", "bad"], "cause": "exit code 3"}
        assert_innocent(runner.run(INNOCENT))


def test_more_suspects_than_workers_for_them(flow):
    with Runner(flow) as runner:
        runner.ready()
        hanging = {f"h{n}": {"do": "hang"} for n in range(10)}
        for row, inputs in hanging.items():
            runner.send(type="row", id=row, inputs=inputs, alone=True)
        started = {runner.next("started")["id"] for _ in range(8)}
        assert started == {f"h{n}" for n in range(8)}
        for row in hanging:
            runner.send(type="cancel", id=row)
        assert_innocent(runner.run(INNOCENT, alone=True))
        assert len(runner.tree()) <= 3  # the runner, its worker, and at most the one that is just ending


def test_a_cancelled_row_is_never_heard_of_again(flow):
    with Runner(flow) as runner:
        runner.ready()
        runner.send(type="row", id="late", inputs={"do": "hang"}, alone=False)
        runner.next("started")
        runner.send(type="cancel", id="late")
        runner.send(type="row", id="bad", inputs={"do": "exit"}, alone=False)
        assert runner.next("lost")["ids"] == ["bad"]


def test_hung_rows_block_nobody_and_their_worker_is_replaced(flow):
    with Runner(flow) as runner:
        runner.ready()
        worker = runner.tree()[1]
        for n in range(20):
            runner.send(type="row", id=f"h{n}", inputs={"do": "hang"}, alone=False)
            runner.next("started")
            runner.send(type="cancel", id=f"h{n}")
        assert_innocent(runner.run(INNOCENT))
        assert_gone([worker])
        assert runner.run({"t": {"do": "threads"}})["t"]["output"]["answer"] < 12


def test_a_cancelled_row_that_holds_the_interpreter_is_ended(flow):
    with Runner(flow, unresponsive_seconds=1) as runner:
        runner.ready()
        runner.send(type="row", id="held", inputs={"do": "hold"}, alone=False)
        runner.next("started")
        runner.send(type="cancel", id="held")
        time.sleep(0.5)
        ended = runner.run(INNOCENT)  # they may have been given to the held worker: then they are lost with it
        lost = {row: INNOCENT[row] for row, end in ended.items() if isinstance(end, str)}
        assert_innocent(ended | runner.run(lost, alone=True))


def test_heartbeats_tell_of_a_slow_worker(flow):
    with Runner(flow, unresponsive_seconds=30) as runner:
        runner.ready()
        runner.send(type="row", id="held", inputs={"do": "hold"}, alone=False)
        runner.next("started")
        times, silences = [], []
        for _ in range(6):
            silences.append(runner.next("heartbeat")["seconds"])
            times.append(time.monotonic())
        assert max(b - a for a, b in itertools.pairwise(times)) < 0.8
        assert silences[-1] > 1.0


def test_slow_reader_and_big_lines_block_nobody(flow):
    with Runner(flow, read=False) as runner:
        for n in range(4):
            runner.send(type="row", id=f"b{n}", inputs={"do": "big"}, alone=False)
        runner.send(type="row", id="long", inputs={"do": "y" * 10_000_000}, alone=False)
        time.sleep(1.0)  # all answers are ready, nobody reads them
        runner.start_reading()
        ended = runner.collect(["b0", "b1", "b2", "b3", "long"])
        assert {len(end["output"]["answer"]) for end in ended.values()} == {20_000_000, 10_000_000}


@pytest.mark.parametrize("deed", ["hang", "hold", "sleeper"])
@pytest.mark.parametrize("how", ["close", "end of file", "kill"])
def test_no_process_outlives_the_runner(flow, how, deed):
    with Runner(flow, unresponsive_seconds=60) as runner:
        runner.ready()
        for alone in (False, True):
            runner.send(type="row", id=f"r{alone}", inputs={"do": deed}, alone=alone)
            runner.next("started")
        if deed == "sleeper":
            wait_for_tree(runner, 5)
        processes = runner.tree()
        if how == "close":
            assert runner.close() == 0
        elif how == "end of file":
            runner.write = swap_for_null(runner.write)
            assert runner.process.wait(20) == 0
        else:
            os.kill(runner.process.pid, signal.SIGKILL)
        if how == "kill" and deed == "sleeper":  # the kernel ends the workers first; theirs nobody knows any more
            for process in processes[3:]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        assert_gone(processes)


def wait_for_tree(runner, size):
    deadline = time.monotonic() + 20
    while len(runner.tree()) < size:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def swap_for_null(fd):
    null = os.open(os.devnull, os.O_WRONLY)
    os.close(fd)
    return null


def test_terminate_ends_everything(flow):
    with Runner(flow) as runner:
        runner.ready()
        runner.send(type="row", id="h", inputs={"do": "hang"}, alone=True)
        runner.next("started")
        processes = runner.tree()
        runner.process.terminate()
        assert runner.process.wait(20) == 143
        assert_gone(processes)


def test_started_anew_instead_of_forked(flow):
    with Runner(flow, env={"SLUICE_RUNNER_SPAWN": "1"}) as runner:
        runner.ready()
        assert "worker" in runner.tree()[1].cmdline()
        rows = {**INNOCENT, "bad": {"do": "exit"}}
        ended = runner.run(rows)
        suspects = {row: rows[row] for row, end in ended.items() if isinstance(end, str)}
        ended |= runner.run(suspects, alone=True)
        assert ended["bad"] == "exit code 3"
        assert_innocent(ended)
        processes = runner.tree()
        assert runner.close() == 0
        assert_gone(processes)


def test_several_workers_share_the_rows(tmp_path):
    code = "import os, time\ndef run(do: str):\n    time.sleep(0.2)\n    return os.getpid()\n"
    with Runner(make_callable(tmp_path / "pids", code), workers=2) as runner:
        runner.ready()
        ended = runner.run({str(n): {"do": ""} for n in range(4)})
        pids = [end["output"]["answer"] for end in ended.values()]
        assert sorted(map(pids.count, set(pids))) == [2, 2]
