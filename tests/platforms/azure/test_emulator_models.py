"""The model hosts of the emulated cloud: who may call them, and what is there."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from azure_clients import bearer, sign_in
from azure_emulator import Cloud
from azure_emulator.machine_learning import add_workspace
from azure_emulator.models import Models

HOST = "team.openai.azure.com"
QUESTION = {"messages": [{"role": "user", "content": "Say hello."}]}


def ask(deployment: str = "gpt", *, version: str = "2024-06-01", **headers: str) -> requests.Response:
    url = f"https://{HOST}/openai/deployments/{deployment}/chat/completions"
    query = {"api-version": version} if version else {}
    return requests.post(url, params=query, json=QUESTION, headers=headers, timeout=20)


def connect(cloud: Cloud, workspace: str, key: str) -> None:
    """Write a connection to the host, as any client does."""
    properties: dict[str, Any] = {"category": "AzureOpenAI", "target": f"https://{HOST}/", "authType": "ApiKey"}
    body = {"properties": {**properties, "credentials": {"key": key}}}
    url = f"https://management.azure.com{workspace}/connections/aoai?api-version=2024-04-01"
    requests.put(url, json=body, headers=bearer(cloud), timeout=10).raise_for_status()


def test_the_model_answers_to_the_key_that_the_connection_holds(cloud: Cloud) -> None:
    workspace = add_workspace(cloud)
    assert ask(**{"api-key": "first"}).status_code == 401
    connect(cloud, workspace.id, "first")
    answer = ask(**{"api-key": "first"})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"]
    assert answer.json()["usage"]["total_tokens"] > 0
    connect(cloud, workspace.id, "second")
    assert [ask(**{"api-key": key}).status_code for key in ("first", "second", "")] == [401, 200, 401]
    assert ask().status_code == 401


def test_the_keys_of_a_host_can_be_said_apart_from_connections(cloud: Cloud) -> None:
    connect(cloud, add_workspace(cloud).id, "of the connection")
    cloud.of(Models).keys[HOST] = {"of the resource"}
    assert ask(**{"api-key": "of the connection"}).status_code == 401
    assert ask(**{"api-key": "of the resource"}).status_code == 200


@pytest.mark.parametrize(
    ("audience", "status"), [("https://cognitiveservices.azure.com", 200), ("https://management.azure.com", 401)]
)
def test_tokens_for_the_service_are_taken(cloud: Cloud, audience: str, status: int) -> None:
    token = sign_in(cloud).get_token(f"{audience}/.default").token
    assert ask(Authorization=f"Bearer {token}").status_code == status


def test_deployments_and_versions_of_the_interface(cloud: Cloud) -> None:
    models = cloud.of(Models)
    models.keys[HOST], models.deployments[HOST] = {"key"}, {"gpt"}
    assert ask("gpt", **{"api-key": "key"}).status_code == 200
    absent = ask("gpt-5", **{"api-key": "key"})
    assert (absent.status_code, absent.json()["error"]["code"]) == (404, "DeploymentNotFound")
    assert ask("gpt", version="", **{"api-key": "key"}).status_code == 404
