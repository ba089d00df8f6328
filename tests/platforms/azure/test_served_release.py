"""A release on the emulated cloud whose container reads its connection and calls the model: nothing stands in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azure_emulator import Cloud
from release_project import ENDPOINT, ReleaseProject, release_project

from orchestration.candidates import load_spec
from orchestration.platforms.azure import connections
from orchestration.platforms.base import OnlineDeployment
from orchestration.settings import bind
from orchestration.values import ModelVersion

pytestmark = pytest.mark.real  # storage and containers: seconds each
KIND = OnlineDeployment.kind
HOST = "contoso.openai.azure.com"
FLOW = """
import json, urllib.request
def answer(question: str, connections: dict) -> dict:
    body = json.dumps({"messages": [{"role": "user", "content": question}]}).encode()
    url = connections["aoai"]["base_url"] + "/v1/chat/completions"
    with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as said:
        return {"answer": json.load(said)["choices"][0]["message"]["content"]}
"""
SPEC = "connections: [aoai]\ngate: {}\nsample: {inputs: {question: a}, answer: {}}\n"
BOUND = "connections: {aoai: {kind: workspace, name: team-aoai, model_deployment: gpt}}\n"


@pytest.fixture
def project(cloud: Cloud, tmp_path: Path) -> ReleaseProject:
    found = release_project(tmp_path / "project", cloud)
    found.configure(connections=BOUND)
    found.candidate = found.take(**{"answer.py": FLOW, "sluice.yaml": SPEC})
    connections.create(found.settings, "team-aoai", kind="azure_openai", base_url=f"https://{HOST}", key="k-made-up")
    return found


def wanted(project: ReleaseProject, model: ModelVersion, name: str) -> OnlineDeployment:
    binding = bind(project.settings, load_spec(project.candidate))
    return OnlineDeployment(name, ENDPOINT, model, binding, Path(), tags={"sluice": "1"})


def test_a_deployment_serves_by_the_workspaces_connection(project: ReleaseProject) -> None:
    model = project.register()
    project.ready_endpoint()
    for role in project.platform.access(ENDPOINT):
        project.platform.create(role)
    project.cloud.clock.sleep(1000)
    project.platform.create(wanted(project, model, "green"))
    project.cloud.clock.sleep(1000)
    found = project.platform.get(KIND, "green", endpoint=ENDPOINT)
    assert found is not None
    assert found.state == "Succeeded", (found.message, project.platform.logs(KIND, "green", endpoint=ENDPOINT))
    answer = project.platform.invoke(ENDPOINT, {"question": "hello"}, deployment="green")
    assert (answer.status, answer.deployment) == (200, "green")
    assert answer.body["answer"]  # type: ignore[index,call-overload]
    called = [each.url for each in project.cloud.exchanges if HOST in each.url]
    assert called == [f"https://{HOST}/openai/deployments/gpt/chat/completions?api-version=2024-10-21"]


def test_no_key_is_in_what_is_sent_for_a_deployment(project: ReleaseProject) -> None:
    model = project.register()
    project.ready_endpoint()
    described = project.platform.render(wanted(project, model, "green"))
    project.platform.create(wanted(project, model, "green"))
    writes = [each for each in project.cloud.exchanges if each.method == "PUT" and "/deployments/green" in each.url]
    assert len(writes) == 1
    assert "k-made-up" not in f"{writes[0].request_body!r}{json.dumps(described)}"
    assert described["model"] == f"azureml:echo:{model.version}"


def test_without_the_role_the_container_says_what_it_lacks(project: ReleaseProject) -> None:
    model = project.register()
    project.ready_endpoint()
    project.platform.create(wanted(project, model, "green"))
    project.cloud.clock.sleep(1000)
    found = project.platform.get(KIND, "green", endpoint=ENDPOINT)
    assert found is not None
    assert found.state == "Failed"
    logs = project.platform.logs(KIND, "green", endpoint=ENDPOINT)
    assert "can't serve: connection team-aoai: status 403: AuthorizationFailed" in logs
    assert "Connection Secrets Reader" in logs
