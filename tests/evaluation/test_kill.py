"""What is left when the whole engine process dies: no process, and every row that was done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_workspace import Workspace, runners_of, without_runtime

from orchestration.evaluation.engine import evaluate
from orchestration.evaluation.job import EvaluationJob, Progress
from orchestration.evaluation.row_store import RowStore
from orchestration.evaluation.rows import store_keys, subject_identity

GATED = """
    import pathlib, time
    gate = pathlib.Path(__file__).parent.parent / "gate"
    def run(text: str):
        call(text)
        while int(text[1:]) >= 20 and not gate.exists():
            time.sleep(0.05)
        return {"answer": text.upper()}
"""


class Terminated(BaseException):
    """What a handler of SIGTERM may raise."""


def until(ready: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.02)


def job_file(workspace: Workspace, job: EvaluationJob) -> Path:
    path = workspace.folder / "job.json"
    fields = {
        "flow": {"folder": str(job.flow.folder), "content_hash": job.flow.content_hash},
        "environment": workspace.environment,
        "data": str(job.data),
        "state": str(job.state),
        "in_flight": job.in_flight,
    }
    path.write_text(json.dumps(fields))
    return path


def stored(job: EvaluationJob) -> int:
    keys = store_keys(subject_identity(job.flow, ""), [{"text": f"t{i}"} for i in range(40)])
    store = RowStore(job.state, say=print)
    try:
        return len(store.get(keys))
    finally:
        store.close()


@pytest.fixture
def job(workspace: Workspace) -> EvaluationJob:
    return workspace.job(GATED, rows=40, in_flight=4)


@pytest.fixture
def engine(workspace: Workspace, job: EvaluationJob) -> Iterator[subprocess.Popen[str]]:
    """The engine as a process of its own, in the middle: 20 rows stored, 4 in flight, 16 not sent."""
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.evaluation", str(job_file(workspace, job)), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(workspace.folder)},  # where a killed engine leaves its runner's home
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - `&` ignores it
    )
    with process:
        try:
            until(lambda: stored(job) == 20 and len(workspace_calls(workspace)) == 24)
            yield process
        finally:
            process.kill()


def workspace_calls(workspace: Workspace) -> list[str]:
    file = workspace.folder / "flow.calls"
    return file.read_text().splitlines() if file.exists() else []


def finish(workspace: Workspace, job: EvaluationJob) -> None:
    """Run it again, to its end: exactly the rows that are missing are called."""
    workspace.calls()
    (workspace.folder / "gate").touch()
    evaluation = evaluate(job)
    assert (evaluation.completed, evaluation.cached) == (40, 20)
    assert sorted(workspace.calls()) == sorted(f"t{i}" for i in range(20, 40))
    assert [row.result.output["answer"] for row in evaluation.rows] == [f"T{i}" for i in range(40)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_after_a_kill_only_missing_rows_are_run(workspace: Workspace, job: EvaluationJob, engine, number):
    engine.send_signal(number)
    engine.wait()
    until(lambda: runners_of(workspace.folder) == [])
    finish(workspace, job)


def test_ctrl_c_leaves_no_process_and_keeps_the_rows(workspace: Workspace, job: EvaluationJob, engine):
    engine.send_signal(signal.SIGINT)
    out, err = engine.communicate(timeout=10)
    assert engine.returncode == 130
    assert runners_of(workspace.folder) == []
    assert out == ""
    assert "Traceback" not in err
    assert "completed rows are stored" in err
    finish(workspace, job)


def test_a_second_engine_beside_it_shares_the_store(workspace: Workspace, job: EvaluationJob, engine):
    (workspace.folder / "gate").touch()
    assert evaluate(job).completed == 40
    out, _ = engine.communicate(timeout=20)
    summary = json.loads(out)
    assert (summary["completed"], summary["failed"], summary["stopped"]) == (40, 0, None)
    assert evaluate(without_runtime(job)).cached == 40


def test_what_user_code_starts_ends_with_the_runner(workspace: Workspace):
    source = """
        import os, subprocess
        def run(text: str):
            detached = subprocess.Popen(["sleep", "300"], process_group=0 if text == "group" else None)
            if text == "crash":
                os._exit(1)
            return {"answer": detached.pid}
    """
    job = workspace.job(source, rows=[{"text": "group"}, {"text": "plain"}, {"text": "crash"}])
    assert evaluate(job).completed == 2
    assert runners_of(workspace.folder) == []


def test_an_exception_out_of_a_signal_handler_leaves_no_process(workspace: Workspace, job: EvaluationJob):
    """Prefect answers SIGTERM so; the rows in flight hang."""

    def interrupt(*_: object) -> None:
        raise Terminated

    def arm(progress: Progress) -> None:
        if progress.done == 20:
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(Terminated):
            evaluate(job, progress=arm)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert runners_of(workspace.folder) == []
    finish(workspace, job)


def test_it_runs_in_any_thread(workspace: Workspace):
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(evaluate, workspace.job()).result().completed == 8


def test_the_engine_says_in_one_line_what_is_wrong_with_a_job(workspace: Workspace, tmp_path: Path):
    path = job_file(workspace, replace(workspace.job(), data=tmp_path / "none.jsonl"))
    done = subprocess.run([sys.executable, "-m", "orchestration.evaluation", str(path)], capture_output=True, text=True)
    assert done.returncode == 64
    assert done.stderr.count("\n") == 1
    assert "none.jsonl: the data can't be read" in done.stderr


def test_the_engine_imports_nothing_heavy():
    heavy = ["pydantic", "prefect", "mlflow", "aiohttp", "tenacity", "azure", "scipy", "jinja2"]
    code = f"import sys, orchestration.evaluation.__main__; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
