"""Processes of the emulator end with it, whatever ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from azure_emulator.children import OUTSIDE, Child

FOREVER = "import subprocess, sys, time; print('up', flush=True); subprocess.Popen(['sleep', '600']); time.sleep(600)"
OWNER = """
import os, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from azure_emulator.children import OUTSIDE, Child
Child([sys.executable, "-c", {forever!r}], log=Path({log!r}), environment=OUTSIDE)
print("started", flush=True)
time.sleep(600)
"""


def wait_for(true, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(true())


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_output_and_exit_code_are_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os, sys; print(os.environ['A'], os.getcwd()); sys.exit(3)"]
    child = Child(command, log=tmp_path / "log", environment={"A": "b"}, cwd=tmp_path)
    assert child.wait(10) == 3
    assert child.output() == f"b {tmp_path}\n"
    child.end()


def test_a_command_that_is_not_there_ends_with_its_reason(tmp_path: Path) -> None:
    child = Child(["/nowhere/at/all"], log=tmp_path / "log", environment=OUTSIDE)
    assert child.wait(10) != 0
    assert "/nowhere/at/all" in child.output()
    child.end()


def test_end_ends_all_that_was_started(tmp_path: Path) -> None:
    child = Child([sys.executable, "-c", FOREVER], log=tmp_path / "log", environment=OUTSIDE)
    assert wait_for(lambda: child.output() and len(family(child._guard.pid)) == 2)
    started = family(child._guard.pid)
    with pytest.raises(TimeoutError):
        child.wait(0.01)
    child.end()
    child.end()
    assert wait_for(lambda: not any(process.is_running() for process in started))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_owner_takes_them_along(tmp_path: Path, number: signal.Signals) -> None:
    tests = str(Path(__file__).parents[2])
    program = OWNER.format(tests=tests, forever=FOREVER, log=str(tmp_path / "log"))
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert owner.stdout is not None
        owner.stdout.readline()
        assert wait_for(lambda: len(family(owner.pid)) == 3)
        started = family(owner.pid)
        os.kill(owner.pid, number)
        assert wait_for(lambda: not any(process.is_running() for process in started))
    finally:
        owner.kill()
        owner.communicate()
