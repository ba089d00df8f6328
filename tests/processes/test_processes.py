from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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


DAMAGED = ["", "{", "[]", '{"pid": 1}', '{"name": "it", "pid": "x", "started": 1}']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_record_is_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "it.json").write_text(text)
    assert processes.find("it", records=tmp_path) is None


@pytest.fixture
def ended() -> Iterator[Callable[[Daemon], Daemon]]:
    """What it is given is ended after the test, whatever became of its record."""
    given: list[Daemon] = []

    def keep(daemon: Daemon) -> Daemon:
        given.append(daemon)
        return daemon

    yield keep
    for daemon in given:
        if processes.alive(daemon):
            os.kill(daemon.pid, signal.SIGKILL)


@pytest.mark.parametrize("text", [*DAMAGED, None])
def test_a_process_whose_record_was_lost_is_found_and_ended(tmp_path: Path, ended, text: str | None) -> None:
    daemon, record = ended(start(tmp_path, SLEEPER)), tmp_path / "it.json"
    record.unlink()
    if text is not None:
        record.write_text(text)
    found = processes.find("it", records=tmp_path)
    assert found == daemon
    assert processes.find("other", records=tmp_path) is None
    assert processes.find("it", records=tmp_path.parent) is None
    processes.stop(found, records=tmp_path)
    assert not processes.alive(daemon)
    assert not record.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from orchestration import processes
folder = Path(sys.argv[1])
processes.write_private = lambda path, text: os.kill(os.getpid(), signal.SIGKILL)
processes.start("it", [sys.executable, "-c", sys.argv[2]], records=folder, log=folder / "log", cwd=folder, environment={})
"""


def test_a_starter_that_is_killed_before_it_wrote_the_record_loses_nothing(tmp_path: Path, ended) -> None:
    (tmp_path / "it.json").write_text(json.dumps({"name": "it", "pid": os.getpid(), "started": 1.0}))  # of an older one
    starter = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), SLEEPER])
    assert starter.returncode == -signal.SIGKILL
    found = processes.find("it", records=tmp_path)
    assert found is not None
    assert ended(found).pid != os.getpid()


def test_a_process_outlives_its_folder_and_is_still_found(tmp_path: Path, ended) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    daemon = ended(start(folder, SLEEPER))
    shutil.rmtree(folder)
    assert processes.left(tmp_path) == [(folder, daemon)]
    assert processes.left(tmp_path / "serv") == []
    processes.stop(daemon, records=folder)
    assert processes.left(tmp_path) == []


def test_what_it_started_counts_only_when_it_was_left_behind(tmp_path: Path, ended) -> None:
    daemon = ended(start(tmp_path, PARENT))
    wait_for_output(tmp_path)
    [child] = psutil.Process(daemon.pid).children()
    assert processes.left(tmp_path) == [(tmp_path, daemon)]
    os.kill(daemon.pid, signal.SIGKILL)
    os.waitpid(daemon.pid, 0)
    assert processes.find("it", records=tmp_path) is None  # its record says who it was, and that one is dead
    [(_, orphan)] = processes.left(tmp_path)
    assert ended(orphan).pid == child.pid
    processes.stop(orphan, records=tmp_path)
    assert processes.left(tmp_path) == []


def test_a_clock_that_was_set_hides_no_process(tmp_path: Path, ended) -> None:
    daemon = ended(start(tmp_path, SLEEPER))
    shifted = {"name": "it", "pid": daemon.pid, "started": daemon.started - 3600}
    (tmp_path / "it.json").write_text(json.dumps(shifted))
    assert processes.find("it", records=tmp_path) == daemon


def test_private_files_are_private_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "key"
    processes.write_private(path, "secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


FULL = """
import resource, sys
from pathlib import Path
from orchestration.processes import write_private
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    write_private(Path(sys.argv[1]), "x" * 5000)
except OSError:
    sys.exit(7)
"""


def test_a_file_that_can_not_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("old")
    assert subprocess.run([sys.executable, "-c", FULL, str(path)]).returncode == 7
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_only_listed_variables_are_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOAI_API_KEY", "canary")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "canary")
    assert "canary" not in processes.clean_environment().values()
    assert "PATH" in processes.clean_environment()


def test_a_web_proxy_with_a_password_is_for_those_who_call_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:canary@proxy:3128")
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    plain, web = processes.clean_environment(), processes.clean_environment(web=True)
    assert ("HTTPS_PROXY" in plain, plain["http_proxy"]) == (False, "http://proxy:3128")
    assert (web["HTTPS_PROXY"], web["http_proxy"]) == ("http://me:canary@proxy:3128", "http://proxy:3128")


NEGLIGENT = """
import os, sys
from pathlib import Path
from orchestration import processes
folder = Path(sys.argv[1])
processes.start("it", [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"],
                records=folder, log=folder / "log", cwd=folder, environment={})
sys.stdin.read()
"""


def test_a_zombie_that_nobody_takes_away_is_not_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", NEGLIGENT, str(tmp_path)], stdin=subprocess.PIPE) as parent:
        while not (tmp_path / "log").exists():
            os.sched_yield()
        wait_for_output(tmp_path)
        daemon = processes.find("it", records=tmp_path)
        assert daemon is not None
        began = time.monotonic()
        processes.stop(daemon, records=tmp_path, grace_seconds=60)
        assert time.monotonic() - began < 20
        assert psutil.Process(daemon.pid).status() == psutil.STATUS_ZOMBIE
        parent.stdin.close()
