from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import psutil
import pytest

from orchestration import processes
from orchestration.processes import Daemon

SLEEPER = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PARENT = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); print('up', flush=True); time.sleep(600)"


def start(folder: Path, code: str) -> Daemon:
    return processes.start(
        "it",
        [sys.executable, "-c", code],
        records=folder,
        log=folder / "log",
        cwd=folder,
        environment=processes.clean_environment(),
    )


def wait_for_output(folder: Path) -> None:
    while "up" not in (folder / "log").read_text():
        os.sched_yield()


def test_it_is_found_again_and_ended(tmp_path: Path) -> None:
    daemon = start(tmp_path, SLEEPER)
    assert processes.find("it", records=tmp_path) == daemon
    processes.stop(daemon, records=tmp_path)
    assert processes.find("it", records=tmp_path) is None
    assert not psutil.pid_exists(daemon.pid) or not processes.alive(daemon)


def test_what_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    daemon = start(tmp_path, STUBBORN)
    wait_for_output(tmp_path)
    processes.stop(daemon, records=tmp_path, grace_seconds=0.2)
    assert not processes.alive(daemon)


def test_children_end_with_it(tmp_path: Path) -> None:
    daemon = start(tmp_path, PARENT)
    wait_for_output(tmp_path)
    children = psutil.Process(daemon.pid).children()
    processes.stop(daemon, records=tmp_path, grace_seconds=1)
    assert children
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_a_reused_pid_is_not_taken_for_it(tmp_path: Path) -> None:
    other = Daemon("it", os.getpid(), started=1.0)
    (tmp_path / "it.json").write_text(json.dumps({"name": "it", "pid": os.getpid(), "started": 1.0}))
    assert processes.find("it", records=tmp_path) is None
    processes.stop(other, records=tmp_path)  # ends nothing: this test goes on


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_record_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "it.json").write_text(text)
    assert processes.find("it", records=tmp_path) is None


def test_private_files_are_private_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "key"
    processes.write_private(path, "secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_only_listed_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOAI_API_KEY", "canary")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "canary")
    assert "canary" not in processes.clean_environment().values()
    assert "PATH" in processes.clean_environment()
