"""`kill -9` of everything, at the worst moments: the next run ends as a clean one would."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
IN_FLIGHT = 4

COUNTING = """
import time

def answer(question: str) -> dict:
    with open({calls!r}, "a") as calls:
        calls.write(question + "\\n")
    time.sleep({seconds})
    return {{"answer": question.upper()}}
"""


def processes_of(project) -> list[psutil.Process]:
    """Every process whose command line or working folder names the project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join(process.cmdline()) + " " + process.cwd()
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if str(project.root) in told:
            found.append(process)
    return found


def kill_everything(project) -> int:
    killed = 0
    while processes := processes_of(project):
        for process in processes:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
            killed += 1
        psutil.wait_procs(processes, timeout=5)
    return killed


def until(condition, run: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def calls(path: Path) -> Counter[str]:
    return Counter(path.read_text().split()) if path.exists() else Counter()


def history(project) -> list[dict]:
    lines = [f.read_text().splitlines() for f in (project.state / "endpoints").glob("*/traffic.jsonl")]
    return [json.loads(line) for group in lines for line in group]


def test_kill_in_mid_evaluation_then_run(project) -> None:
    counted = project.root / "calls"
    project.write_rows(24)
    project.flow.joinpath("tiny.py").write_text(COUNTING.format(calls=str(counted), seconds=0.4))
    with (project.root / "config" / "base.yaml").open("a") as config:
        config.write("")
    base = project.root / "config" / "base.yaml"
    base.write_text(
        base.read_text().replace("row_timeout_seconds: 2", f"row_timeout_seconds: 5, in_flight: {IN_FLIGHT}")
    )
    run = project.popen("run", "tiny", "--json")
    until(lambda: len(calls(counted)) >= 10, run)
    assert kill_everything(project) >= 2  # what saw its parent die is gone already
    run.communicate()
    before = calls(counted)

    release = project.run()

    assert release["outcome"] == "released"
    assert release["rows"]["completed"] == 24
    assert release["rows"]["cached"] >= len(before) - 2 * IN_FLIGHT
    repeated = {row for row, times in calls(counted).items() if times > 1}
    repeated.discard("hello")  # the sample request of the smoke test
    assert len(repeated) <= 2 * IN_FLIGHT  # in flight, or finished in the last moment before the kill


def test_kill_in_mid_rollout_then_run(project) -> None:
    assert project.run()["outcome"] == "released"
    base = project.root / "config" / "base.yaml"
    base.write_text(base.read_text().replace("step_seconds: 0.2", "step_seconds: 4"))
    source = project.flow / "tiny.py"
    source.write_text(source.read_text() + "\n# another version, with the same answers\n")
    run = project.popen("run", "tiny", "--json")
    until(lambda: any(0 < w < 100 for entry in history(project) for w in entry["weights"].values()), run)
    kill_everything(project)
    run.communicate()
    base.write_text(base.read_text().replace("step_seconds: 4", "step_seconds: 0.2"))

    release = project.run()

    assert release["outcome"] == "released"
    assert release["rows"]["cached"] == 8
    assert release["model"]["version"] == "2"
    assert list(release["endpoint"]["traffic"].values()) == [100]
    assert project.json("invoke", "tiny")["answer"] == {"answer": "HELLO"}
    for entry in history(project):
        for name, weight in entry["weights"].items():
            assert weight == 0 or entry["states"][name] == "Succeeded", entry
    project.sluice("down")
    assert processes_of(project) == []


def test_kill_while_all_of_the_traffic_is_watched_then_run(project) -> None:
    assert project.run()["outcome"] == "released"
    local = project.root / "config" / "local.yaml"
    local.write_text("rollout: {steps: [100], step_seconds: 8}\n")
    source = project.flow / "tiny.py"
    source.write_text(source.read_text() + "\n# another version, with the same answers\n")
    run = project.popen("run", "tiny", "--json")
    until(lambda: len(history(project)) == 2, run)
    kill_everything(project)
    run.communicate()
    local.write_text("rollout: {steps: [100]}\n")

    assert project.run()["outcome"] == "released"  # what nobody watched to the end is not taken for released
    assert project.run()["outcome"] == "unchanged"
    assert [len(entry["weights"]) for entry in history(project)] == [1, 1]  # and yet nobody was sent back
    assert project.json("rollback", "tiny")["traffic"] == history(project)[0]["weights"]
