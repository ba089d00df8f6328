"""Runs of prompt flow's service, by its own client in a process of its own, and their way back into the gate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from azure_clients import SECRET
from azure_emulator.faults import OperationFails, OperationNeverEnds, Reset, Status
from azure_emulator.prompt_flow.runs import Runs
from cloud_world import CloudRun
from release_project import ReleaseProject

from orchestration.errors import ConfigurationError, PlatformTimeout, PlatformUnavailable, ProvisioningFailed
from orchestration.evaluation import engine
from orchestration.platforms import open_runs
from orchestration.steps import cloud_runs, evaluate
from orchestration.values import Request, Verdict
from orchestration.values import Status as RowStatus

FRESH = Request("numbers", "dev", fresh=True)
pytestmark = [pytest.mark.real, pytest.mark.usefixtures("blobs"), pytest.mark.timeout(300)]


def test_rows_come_back_as_those_of_the_worker_do(project: ReleaseProject) -> None:
    run = CloudRun(project, numbers=(1, -2, 3, 13))
    assert cloud_runs.find_stored(run.work, run.runtimes) is None
    evaluation = run.evaluate()
    assert (evaluation.expected, evaluation.completed, evaluation.stopped) == (4, 2, None)
    first, failed, wrong, empty = evaluation.rows
    assert (first.result.output, first.grades) == ({"m": 2}, {"right": 1})
    assert (wrong.result.output, wrong.grades) == ({"m": 6}, {"right": 0})
    assert failed.result.status is RowStatus.FAILED
    assert failed.result.error is not None
    assert "-2 is negative" in failed.result.error.message
    assert empty.result.error is not None
    assert empty.result.error.code == "NullOutput"
    decision = evaluate.decide(run.work, evaluation)
    assert decision.metrics["accuracy"] == 0.25
    assert decision.verdict is Verdict.PASS, decision.reasons


def test_the_second_time_everything_is_stored(project: ReleaseProject, tmp_path: Path) -> None:
    run = CloudRun(project)
    evaluation = run.evaluate()
    assert (evaluation.completed, evaluation.cached, evaluation.logged) == (3, 0, {"accuracy": pytest.approx(2 / 3)})
    check_what_was_sent(run)
    check_secrets(run, tmp_path)
    before = len(project.cloud.exchanges)
    stored = cloud_runs.find_stored(run.work, run.runtimes)
    assert stored is not None
    assert (stored.id, stored.cached, stored.logged) == (evaluation.id, 3, evaluation.logged)
    assert [(row.result.output, row.grades) for row in stored.rows] == [
        (row.result.output, row.grades) for row in evaluation.rows
    ]
    assert len(project.cloud.exchanges) == before
    assert cloud_runs.find_stored(replace(run.work, request=FRESH), run.runtimes) is None
    here = evaluate.evaluation_job(run.work, run.runtimes)  # answers of the cloud are not those of the worker
    assert engine.check(here).known == 0
    assert engine.check(evaluate.at_place(run.work, here)).known == 3


def check_what_was_sent(run: CloudRun) -> None:
    exchanges = run.project.cloud.exchanges
    flow, evaluator = (json.loads(each.request_body or b"") for each in exchanges if "BulkRuns/submit" in each.url)
    assert (flow["runId"], flow["runtimeName"]) == (f"{run.made.name}-flow", run.made.name)
    assert (flow["inputsMapping"]["n"], int(flow["inputsMapping"]["factor"])) == ("${data.number}", 2)
    assert (evaluator["variantRunId"], evaluator["inputsMapping"]["got"]) == (flow["runId"], "${run.outputs.m}")
    assert flow["tags"]["run"] == run.id


def check_secrets(run: CloudRun, folder: Path) -> None:
    """No token is printed or stored."""
    headers = (each.request_headers for each in run.project.cloud.exchanges)
    tokens = {value for each in headers for name, value in each.items() if name.lower() == "authorization"}
    secrets = [token.partition(" ")[2].encode() for token in tokens] + [SECRET.encode()]
    kept = [path for path in folder.rglob("*") if path.is_file() and path.name != "secret.txt"]
    assert len(secrets) > 1
    assert run.work.state / cloud_runs.LOG in kept
    assert not [path for path in kept if any(secret in path.read_bytes() for secret in secrets)]


def test_a_repeated_step_finds_its_run(project: ReleaseProject) -> None:
    run = CloudRun(project)
    prepared = run.ready()
    project.cloud.scenario.fault("POST", "bulkRuns/submit", Reset(after_commit=True), times=9)
    names = {cloud_runs.run_prompt_flow(run.work, run.made, prepared, clock=run.clock) for _ in range(2)}
    assert names == {f"{run.made.name}-flow"}
    assert [each.id for each in project.cloud.of(Runs).below(project.workspace.id)] == [f"{run.made.name}-flow"]


def test_a_run_that_fails_says_why(project: ReleaseProject) -> None:
    run = CloudRun(project)
    prepared = run.ready()
    project.cloud.scenario.fault("POST", "bulkRuns/submit", OperationFails("SystemError", "The disk is full."))
    with pytest.raises(ProvisioningFailed, match=rf"{run.made.name}-flow Failed: The disk is full"):
        cloud_runs.run_prompt_flow(run.work, run.made, prepared, clock=run.clock)


def test_a_run_that_never_ends_is_canceled(project: ReleaseProject) -> None:
    run = CloudRun(project)
    prepared = run.ready()
    project.cloud.scenario.fault("POST", "bulkRuns/submit", OperationNeverEnds())
    with pytest.raises(PlatformTimeout, match=rf"{run.made.name}-flow was not ready after 3600 s"):
        cloud_runs.run_prompt_flow(run.work, run.made, prepared, clock=run.clock)
    assert [each for each in project.cloud.exchanges if each.url.endswith(f"/{run.made.name}-flow/cancel")]


@pytest.mark.parametrize(("status", "error"), [(503, PlatformUnavailable), (403, ConfigurationError)])
def test_a_refused_submission(project: ReleaseProject, status: int, error: type[Exception]) -> None:
    run = CloudRun(project)
    prepared = run.ready()
    project.cloud.scenario.fault("POST", "bulkRuns/submit", Status(status, "AuthorizationFailed", "No."), times=9)
    with pytest.raises(error, match=rf"submit the run {run.made.name}-flow"):
        cloud_runs.run_prompt_flow(run.work, run.made, prepared, clock=run.clock)


def test_a_client_that_is_gone_is_said(project: ReleaseProject, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'no promptflow here' >&2\nexit 3\n")
    python.chmod(0o755)
    run = CloudRun(project)
    with (
        pytest.raises(PlatformUnavailable, match=r"client ended: no promptflow here\. See .*prompt-flow-service\.log"),
        open_runs(run.work.settings, python, log=run.work.state / cloud_runs.LOG, clock=run.clock),
    ):
        pass
