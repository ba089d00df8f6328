"""Evaluating in the worker with connections that the workspace keeps: their keys go to the model proxy, and no further."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from release_project import REPOSITORY, ReleaseProject

from orchestration.errors import ConfigurationError
from orchestration.evaluation.engine import evaluate
from orchestration.evaluation.job import EvaluationJob
from orchestration.model_proxy import Upstream
from orchestration.platforms import open_connections
from orchestration.platforms.azure import connections
from orchestration.steps import prepare
from orchestration.steps.evaluate import evaluation_job
from orchestration.steps.look import job_of, looked_at
from orchestration.steps.work import Work
from orchestration.values import Request, Status

CONNECTIONS = "connections:\n  aoai: {kind: workspace, name: team-aoai, model_deployment: gpt-4o-mini}\n"
KEY = "canary-key"
ANSWER = """
import json, os, urllib.request

def answer(question: str, connections) -> dict:
    aoai = connections["aoai"]
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": question}]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {aoai['api_key']}"}
    request = urllib.request.Request(f"{aoai['base_url']}/v1/chat/completions", body, headers)
    with urllib.request.urlopen(request) as reply:
        content = json.load(reply)["choices"][0]["message"]["content"]
    return {"answer": content, "seen": json.dumps([connections, dict(os.environ)])}
"""
CUSTOM = """
def answer(question: str, connections) -> dict:
    return {"answer": connections["aoai"]["values"]["index"], "seen": ""}
"""


def host(name: str) -> str:
    return f"{name}.openai.azure.com"


def point(project: ReleaseProject, name: str, *, key: str = KEY) -> None:
    """Let the workspace connection lead to that resource."""
    connections.create(project.settings, "team-aoai", kind="azure_openai", base_url=f"https://{host(name)}", key=key)


@pytest.fixture
def ready(project: ReleaseProject) -> ReleaseProject:
    project.configure(connections=CONNECTIONS)
    point(project, "here")
    outputs = 'entry = "answer:answer"\noutputs = ["answer", "seen"]\n'
    project.candidate = project.take(**{"answer.py": ANSWER, "callable.toml": outputs})
    return project


def taken(project: ReleaseProject) -> Work:
    return prepare.take(Request("echo", "dev"), root=project.root, check_dirty=False)


def job(work: Work) -> EvaluationJob:
    """The evaluation, with this test's own interpreter as the runtime."""
    python = Path(sys.executable)
    made = evaluation_job(work, prepare.Runtimes(python, None))
    return replace(made, flow=replace(made.flow, environment={"PYTHONPATH": str(REPOSITORY / "runtime")}))


def calls(project: ReleaseProject, name: str) -> list[dict[str, str]]:
    """The headers of the calls to that resource."""
    return [dict(each.request_headers) for each in project.cloud.exchanges if urlsplit(each.url).hostname == host(name)]


def test_rows_are_answered_with_the_workspaces_key_and_never_see_it(ready: ReleaseProject) -> None:
    made = job(taken(ready))
    assert KEY not in json.dumps(made.connections)
    assert KEY not in repr(made)
    result = evaluate(made)
    [row] = result.rows
    assert row.result.status is Status.COMPLETED, row.result
    assert row.result.output is not None
    assert KEY not in json.dumps(row.result.output)
    [call] = calls(ready, "here")
    assert call["api-key"] == KEY
    assert not any(KEY.encode() in path.read_bytes() for path in ready.settings.state.rglob("*") if path.is_file())


def test_answers_are_kept_while_the_connection_leads_to_the_same_place(ready: ReleaseProject) -> None:
    evaluate(job(taken(ready)))
    point(ready, "here", key="canary-rotated")
    again = evaluate(job(taken(ready)))
    assert (again.cached, len(calls(ready, "here"))) == (1, 1)
    point(ready, "there")
    other = evaluate(job(taken(ready)))
    assert (other.cached, len(calls(ready, "there"))) == (0, 1)
    assert taken(ready).binding == ready_binding(ready)


def ready_binding(project: ReleaseProject) -> object:
    """The binding, which no change of the connection itself changes."""
    point(project, "elsewhere")
    return taken(project).binding


def test_custom_keys_of_the_workspace_reach_the_flow(ready: ReleaseProject) -> None:
    ready.take(**{"answer.py": CUSTOM})
    connections.create(ready.settings, "team-aoai", kind="custom", values={"index": "books"}, secrets={"k": KEY})
    made = job(taken(ready))
    assert (made.upstreams, made.connections["aoai"]["type"]) == ({}, "custom")
    [row] = evaluate(made).rows
    assert row.result.output == {"answer": "books", "seen": ""}


def test_looking_asks_nobody(ready: ReleaseProject) -> None:
    ready.cloud.exchanges.clear()
    with looked_at(Request("echo", "dev"), check_dirty=False, root=ready.root) as work:
        made = job_of(work, reach=False)
    assert ready.cloud.exchanges == []
    assert made.upstreams["aoai"].api_key is None


def test_a_connection_that_is_gone_is_named_before_a_row_runs(project: ReleaseProject) -> None:
    project.configure(connections=CONNECTIONS)
    with pytest.raises(ConfigurationError, match="has no connection team-aoai"):
        job(taken(project))


def test_what_this_machine_serves_can_use_it_too(ready: ReleaseProject) -> None:
    text = (ready.root / "config" / "dev.yaml").read_text().replace("platform: azure", "platform: local")
    (ready.root / "config" / "dev.yaml").write_text(text)
    work = taken(ready)
    found = open_connections(work.settings, work.binding)["aoai"]
    assert isinstance(found, Upstream)
    assert (found.api_key, found.base_url) == (KEY, f"https://{host('here')}")
