"""The main job from first release to rollback, in order, on one project."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def body(story) -> dict:
    return story.json("status")


def test_1_a_first_run_releases(story) -> None:
    release = story.run()
    assert release["outcome"] == "released"
    assert release["verdict"] == "PASS"
    assert release["rows"] == {"expected": 8, "completed": 8, "failed": 0, "cached": 0}
    assert release["model"]["version"] == "1"
    assert release["metrics"]["accuracy"] == 1.0
    assert list(release["endpoint"]["traffic"].values()) == [100]
    assert set(release["seconds"]) == {"evaluate", "register", "deploy", "total"}
    answer = story.json("invoke", "tiny")
    assert answer["answer"] == {"answer": "HELLO"}


def test_2_a_second_run_changes_nothing(story) -> None:
    before = body(story)["endpoints"]
    release = story.run()
    assert release["outcome"] == "unchanged"
    assert release["rows"]["cached"] == 8
    assert release["model"]["version"] == "1"
    assert body(story)["endpoints"] == before


def test_3_a_worse_prompt_flow_is_rejected_and_nothing_changes(story) -> None:
    before = body(story)["endpoints"]
    good = story.flow.joinpath("tiny.py").read_text()
    story.flow.joinpath("tiny.py").write_text(good.replace("question.upper()", "question.lower()"))
    try:
        release = story.run(code=2)
    finally:
        story.flow.joinpath("tiny.py").write_text(good)
    assert release["verdict"] == "FAIL"
    assert "0" in release["reasons"][0]
    assert body(story)["endpoints"] == before
    assert story.json("invoke", "tiny")["answer"] == {"answer": "HELLO"}


def test_4_rows_that_raise_hang_or_exit_are_named_and_the_others_judged(story) -> None:
    story.flow.joinpath("run.yml").write_text(
        "flow: .\ndata: data.jsonl\ncolumn_mapping:\n  question: ${data.question}\n  behave: ${data.behave}\n"
    )
    plain = {f"r{n}": {"behave": ""} for n in range(8)}
    story.write_rows(**(plain | {"r1": {"behave": "raise"}, "r3": {"behave": "hang"}, "r5": {"behave": "exit"}}))
    release = story.run(code=4)
    assert release["rows"] == {"expected": 8, "completed": 5, "failed": 3, "cached": 0}
    reasons = " ".join(release["reasons"])
    for key in ("r1", "r3", "r5"):
        assert key in reasons
    story.write_rows(**plain)


def test_5_a_good_change_is_released_without_a_failed_request(story) -> None:
    url = story.run()["endpoint"]["url"]
    key = next((story.state / "endpoints").glob("*/key")).read_text().strip()
    stop, failures, answers = threading.Event(), [], []

    def load() -> None:
        with httpx.Client(headers={"Authorization": f"Bearer {key}"}) as client:
            while not stop.is_set():
                answer = client.post(url, json={"question": "abc"})
                answers.append(answer.json().get("answer"))
                if answer.status_code != 200:
                    failures.append(answer.text)
                time.sleep(0.005)

    thread = threading.Thread(target=load)
    thread.start()
    source = story.flow.joinpath("tiny.py")
    source.write_text(source.read_text() + "\n# a change that makes no difference to the answers\n")
    try:
        release = story.run()
    finally:
        stop.set()
        thread.join()
    assert release["outcome"] == "released"
    assert release["model"]["version"] == "2"
    assert not failures
    assert len(answers) > 50


def test_6_a_change_that_cannot_serve_is_rolled_back(story) -> None:
    before = body(story)["endpoints"][0]
    source = story.flow.joinpath("tiny.py")
    good = source.read_text()
    broken = 'import sys\nif "serve" in " ".join(sys.argv) or "serve" in sys.orig_argv:\n    raise RuntimeError("no disk to serve from")\n'
    source.write_text(broken + good)
    try:
        done = story.sluice("run", "tiny", "--json")
    finally:
        source.write_text(good)
    assert done.returncode == 5, done.stdout + done.stderr[-3000:]
    assert "no disk to serve from" in done.stdout + done.stderr
    after = body(story)["endpoints"][0]
    serving = lambda e: [(d["name"], d["traffic"]) for d in e["deployments"] if d["traffic"]]  # noqa: E731
    assert serving(after) == serving(before)
    assert story.json("invoke", "tiny")["answer"] == {"answer": "HELLO"}


def test_7_rollback_goes_back_and_forward_again(story) -> None:
    live = story.json("invoke", "tiny")["deployment"]
    story.json("rollback", "tiny")
    other = story.json("invoke", "tiny")["deployment"]
    assert other != live
    story.json("rollback", "tiny")
    assert story.json("invoke", "tiny")["deployment"] == live


def test_8_down_leaves_no_process(story) -> None:
    story.sluice("down")
    left = [
        p.info
        for p in psutil.process_iter(["pid", "cmdline", "cwd"])
        if str(story.root) in " ".join(p.info["cmdline"] or [])
    ]
    assert left == []


def test_9_after_a_reboot_a_run_brings_the_endpoint_back(story) -> None:
    assert story.run()["outcome"] == "unchanged"
    assert story.json("invoke", "tiny")["answer"] == {"answer": "HELLO"}
    assert not Path(story.root / "home" / ".promptflow").exists()
    assert os.environ.get("PREFECT_API_URL") is None
