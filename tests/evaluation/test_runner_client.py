"""The client against runners that are no runners, and what it keeps within bounds."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_workspace import MAPPING, MARK, Workspace

from orchestration.errors import RunnerFailed
from orchestration.evaluation import printed
from orchestration.evaluation.engine import evaluate
from orchestration.evaluation.runner_client import RunnerClient
from orchestration.redaction import Redactor

READY = (
    '{"type": "ready", "protocol": 1, "framework": "x", "kind": "x", "inputs": {}, "outputs": {}, "aggregation": false}'
)


def pretender(folder: Path, code: str) -> dict[str, str]:
    """An environment in which `-m sluice_runner` is this code, with `read`, `write` and `say` at hand."""
    package = folder / "pretender" / "sluice_runner"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    head = """
        import os, sys, time
        read, write = open(int(sys.argv[3]), "rb", 0), int(sys.argv[5])
        def say(line):
            os.write(write, line.encode() + b"\\n")
    """
    (package / "__main__.py").write_text(textwrap.dedent(head) + textwrap.dedent(code))
    return {"PYTHONPATH": str(package.parent), MARK: str(folder)}


async def no_connections() -> dict:
    return {}


def start(folder: Path, code: str, **options) -> RunnerClient:
    """Start it, receive what it says, and end it."""

    async def main():
        environment = pretender(folder, code)
        client = await RunnerClient.start(
            Path(sys.executable),
            {"flow": "/x"},
            connections=no_connections,
            environment=environment,
            log=folder / "log",
            **{"redactor": Redactor(), **options},
        )
        try:
            heard = []
            while messages := await client.receive():
                heard += messages
            return heard, await client.ended()
        finally:
            client.kill()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("sys.exit(5)", "ended before the flow was open .exit code 5."),
        ("say('hello')", "ended before the flow was open .it sent a broken message."),
        ("say('[1]')", "ended before the flow was open .it sent a broken message."),
        ("time.sleep(60)", "not open after 1.5 s"),
        ("""say('{"type": "ready", "protocol": 2}')""", "speaks protocol 2, not 1"),
        ("""say('{"type": "ready", "protocol": 1}')""", "incomplete `ready`"),
        ("""say('{"type": "failed", "code": "NoFlow", "message": "no such", "where": "a:1"}')""", "a:1: no such"),
    ],
)
def test_what_does_not_open_a_flow_says_why(workspace: Workspace, code: str, said: str):
    with pytest.raises(RunnerFailed, match=said):
        start(workspace.folder, code, ready_seconds=1.5)


def test_why_a_flow_is_not_opened_comes_without_secrets(workspace: Workspace):
    code = """say('{"type": "failed", "code": "Raised", "message": "no s3cret-7f3a", "where": "s3cret-7f3a.py:1"}')"""
    with pytest.raises(RunnerFailed, match=r"^\[redacted\]\.py:1: no \[redacted\]$"):
        start(workspace.folder, code, redactor=Redactor(["s3cret-7f3a"]))


def test_messages_come_whole_however_the_pipe_cuts_them(workspace: Workspace):
    code = f"""
        say('{READY}')
        line = '{{"type": "a", "x": "' + "y" * 300_000 + '"}}'
        os.write(write, line[:7].encode()); time.sleep(0.05)
        say(line[7:] + '\\n{{"type": "b"}}')
        os.write(write, b'{{"type": "half')
    """
    heard, ended = start(workspace.folder, code)
    assert [(m["type"], len(m.get("x", ""))) for m in heard] == [("a", 300_000), ("b", 0)]
    assert ended == "exit code 0"


def test_nothing_is_believed_after_a_broken_message(workspace: Workspace):
    code = f"""
        say('{READY}\\n{{"type": "a"}}\\nnonsense\\n{{"type": "b"}}')
        time.sleep(60)
    """
    heard, ended = start(workspace.folder, code)
    assert [m["type"] for m in heard] == ["a"]
    assert ended == "it sent a broken message"


def test_a_runner_that_ignores_everything_is_ended_too(workspace: Workspace):
    code = f"""
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.fork()
        say('{READY}\\nnonsense')
        time.sleep(60)
    """
    start(workspace.folder, code)


def test_the_log_is_kept_within_bounds(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(printed, "LOG_BYTES", 2**20)
    chatty = """
        def run(text: str):
            for n in range(100):
                print(n, "x" * 100_000, flush=True)
            return {"answer": text}
    """
    assert evaluate(workspace.job(chatty, rows=1)).completed == 1
    logs = list((workspace.folder / "logs").iterdir())
    assert sorted(path.name for path in logs) == ["flow.log", "flow.log.1"]
    assert sum(path.stat().st_size for path in logs) <= 2 * 2**20  # of 10 that were printed
    assert all(path.stat().st_mode & 0o077 == 0 for path in logs)
    assert "99 xxx" in workspace.log()


def test_what_a_runner_printed_before_it_died_is_in_the_log(workspace: Workspace):
    with pytest.raises(RunnerFailed, match=r"exit code 5.; see .*/log"):
        start(workspace.folder, "print('last words', end=''); sys.exit(5)")
    assert (workspace.folder / "log").read_text() == "last words\n"


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("spawn", ["0", "1"])
def test_prints_that_nobody_flushed_are_in_the_log(workspace: Workspace, end: str, spawn: str):
    workspace.environment["SLUICE_RUNNER_SPAWN"] = spawn
    quiet = f"""
        print("opened", end={end!r})
        def run(text: str):
            print("row", text, end={end!r})
            return {{"answer": text}}
        def aggregate(inputs, outputs):
            print("aggregated", end={end!r})
            return {{}}
    """
    evaluate(workspace.job(quiet, rows=3))
    for line in ("opened", "row t0", "row t1", "row t2"):
        assert workspace.log().count(line) == 1
    grader = quiet.replace("run(text: str)", "run(answer, truth)").replace("text", "answer")
    job = workspace.job(quiet, rows=3)
    evaluate(replace(job, evaluator=workspace.subject("evaluator", grader, outputs=["answer"], mapping=MAPPING)))
    assert workspace.log("evaluator").count("aggregated") == 1


def test_the_lines_of_a_row_that_ends_the_process_are_in_the_log(workspace: Workspace):
    deadly = """
        import os
        def run(text: str):
            print("before the end")
            os._exit(3)
    """
    evaluate(workspace.job(deadly, rows=1))
    assert "before the end" in workspace.log()
