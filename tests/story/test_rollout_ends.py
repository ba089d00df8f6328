"""How `sluice run` tells of a rollout that ends otherwise than planned."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from small_project import FLOW, Project

from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.hold import held
from orchestration.platforms.local.launch import live_gateway

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
ENDPOINT = "tiny-local"


def change(story: Project, name: str, source: str = FLOW) -> None:
    """Another content, with the same answers to the rows."""
    (story.flow / "tiny.py").write_text(f"{source}\n# {name}\n")


def settings(story: Project, text: str) -> None:
    (story.root / "config" / "local.yaml").write_text(text)


def weights(story: Project) -> list[dict[str, int]]:
    """Every traffic map that was ever live."""
    history = EndpointFolder.of(story.state, ENDPOINT).history
    return [json.loads(line)["weights"] for line in history.read_text().splitlines()]


def test_1_what_cannot_be_cleaned_up_after_a_release_is_a_warning(story: Project, tmp_path: Path) -> None:
    runtimes, elsewhere = story.root / "runtimes", tmp_path / "elsewhere"
    for folder in (runtimes, elsewhere):
        folder.mkdir()
    (elsewhere / "pyvenv.cfg").touch()
    (runtimes / "old").symlink_to(elsewhere)  # half built, and no folder that could be removed
    settings(story, f"runtimes_folder: {runtimes}\n")
    done = story.sluice("run", "tiny", "--json")
    settings(story, "{}\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcome"] == "released"
    assert "Not all that is old could be removed" in done.stderr
    assert story.run()["outcome"] == "unchanged"


def test_2_the_last_lines_of_what_cannot_serve_are_shown(story: Project) -> None:
    change(
        story,
        "no disk",
        "import sys\nif 'serve' in sys.orig_argv:\n    print('said before its end')\n    sys.exit(7)\n" + FLOW,
    )
    done = story.sluice("run", "tiny", "--json")
    assert done.returncode == 5, done.stderr
    assert "said before its end" in done.stderr
    assert "Traceback" not in done.stderr


def test_3_a_step_that_sees_wrong_answers_is_rolled_back(story: Project) -> None:
    late = "hellos = []\n" + FLOW.replace(
        'return {"answer": question.upper()}',
        'hellos.extend([question] if question == "hello" else [])\n'
        '    return {"answer": question.upper() if len(hellos) < 4 else None}',
    )
    change(story, "late", late)
    before = story.json("status")["endpoints"]
    done = story.sluice("run", "tiny", "--json")
    assert done.returncode == 5, done.stderr
    assert "answered the sample request wrongly at 10 %" in json.loads(done.stdout)["reasons"][0]
    assert story.json("status")["endpoints"] == before


def test_4_a_release_that_may_not_begin_says_why_and_nothing_else(story: Project) -> None:
    change(story, "waiting")
    settings(story, "rollout: {hold_seconds: 0.5}\n")
    with held(EndpointFolder.of(story.state, ENDPOINT), "release of somebody"):
        done = story.sluice("run", "tiny", "--json")
    settings(story, "{}\n")
    assert done.returncode == 1
    assert "held by release of somebody" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr


def test_5_ctrl_c_in_mid_rollout_puts_the_traffic_back(story: Project) -> None:
    before = story.json("status")["endpoints"]
    change(story, "interrupted")
    settings(story, "rollout: {step_seconds: 8}\n")
    steps = len(weights(story))
    run = story.popen("run", "tiny", "--json")
    deadline = time.monotonic() + 60
    while len(weights(story)) == steps:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(0.5)  # in the watch of the first step
    os.kill(run.pid, signal.SIGINT)
    out, err = run.communicate(timeout=60)
    settings(story, "{}\n")
    assert run.returncode == 130, err
    assert json.loads(out)["exit"] == 130
    assert story.json("status")["endpoints"] == before


def test_6_a_release_replaces_what_cannot_serve_any_more_and_says_so(story: Project) -> None:
    folder = EndpointFolder.of(story.state, ENDPOINT)
    gateway = live_gateway(folder)
    assert gateway is not None
    os.kill(gateway.pid, signal.SIGKILL)
    for deployment in folder.load().deployments.values():
        file = Path(deployment.spec.flow) / "tiny.py"
        file.chmod(0o644)
        file.write_text("raise RuntimeError('ruined on disk')\n")
    change(story, "replacing")
    done = story.sluice("run", "tiny", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcome"] == "released"
    assert "ruined on disk" in done.stderr
    assert "Nothing proven can serve on endpoint tiny-local" in done.stderr


def test_7_a_prefect_server_that_does_not_answer_is_one_line(story: Project, free_port: int) -> None:
    (story.root / ".env").write_text(f"PREFECT_API_URL=http://127.0.0.1:{free_port}/api\n")
    done = story.sluice("run", "tiny", "--json")
    (story.root / ".env").unlink()
    assert done.returncode == 1
    said = json.loads(done.stdout)["error"]
    assert "The Prefect server does not answer" in said["message"]
    assert "PREFECT_API_URL" in said["cure"]
    assert done.stderr.count("\n") == 1, done.stderr
