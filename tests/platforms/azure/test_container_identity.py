"""A container between the emulated identity, workspace and models: what it may read, what it waits for, what it shows."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure_emulator import Cloud
from azure_emulator.directory import Principal
from azure_emulator.entra import msi_environment
from azure_emulator.machine_learning.workspaces import Workspace, add_workspace
from azure_emulator.models import Models
from small_project import REPOSITORY

KEY = "k-made-up-0123456789"
HOST = "contoso.openai.azure.com"
READER = "ea01e6af-a1c1-4350-9563-ad00f8c72ec5"
FLOW = """
import json, os, urllib.request
def answer(text: str, connections: dict) -> dict:
    aoai = connections["aoai"]
    body = json.dumps({"model": "named-in-the-flow", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Authorization": f"Bearer {aoai['api_key']}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(aoai["base_url"] + "/v1/chat/completions", body, headers)) as said:
        return {"choices": len(json.load(said)["choices"]), "given": json.dumps(connections)}
"""


@dataclass
class Place:
    """The workspace with one connection, and an endpoint's identity without any role."""

    cloud: Cloud
    workspace: Workspace
    identity: Principal
    models: Path

    def connect(self, **properties: Any) -> None:
        """The workspace connection `team-aoai`."""
        shown = {"category": "AzureOpenAI", "target": f"https://{HOST}", "metadata": {"ApiVersion": "2024-06-01"}}
        credentials = properties.pop("credentials", {})
        path = f"{self.workspace.id}/connections/team-aoai"
        self.cloud.arm.seed(path, {"properties": {**shown, **properties}}, data={"credentials": credentials})

    def grant(self, role: str = READER) -> None:
        """Give the identity a role, known everywhere at once."""
        assignment = f"{self.workspace.id}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
        definition = f"/providers/Microsoft.Authorization/roleDefinitions/{role}"
        self.cloud.arm.seed(
            assignment, {"properties": {"principalId": self.identity.object_id, "roleDefinitionId": definition}}
        )

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of its container."""
        place = {
            "subscription_id": self.workspace.subscription_id,
            "resource_group": self.workspace.resource_group,
            "workspace_name": self.workspace.name,
            "endpoint_name": "e",
            "deployment_name": "d1",
        }
        bound = {"aoai": {"connection": "team-aoai", "model_deployment": "gpt"}}
        return {
            **self.cloud.environment(),
            **msi_environment(self.cloud, self.identity),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(REPOSITORY / "runtime"),
            "AZUREML_MODEL_DIR": str(self.models),
            "PRT_CONFIG_OVERRIDE": ",".join(f"deployment.{name}={value}" for name, value in place.items()),
            "SLUICE_CONNECTIONS": json.dumps(bound),
            "SLUICE_PORT": "0",
            "SLUICE_ACCESS_SECONDS": "30",
        } | more

    @contextmanager
    def running(self, log: Path, *, python: str = sys.executable, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        """The container, ended afterwards."""
        with log.open("wb") as output:
            command = [python, "-P", "-m", "sluice_runner.container"]
            process = subprocess.Popen(command, env=self.environment(**more), stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture
def place(cloud: Cloud, tmp_path: Path) -> Place:
    folder = tmp_path / "models" / "chat" / "flow"
    folder.mkdir(parents=True)
    (folder / "callable.toml").write_text('entry = "app:answer"\noutputs = ["choices", "given"]\n')
    (folder / "app.py").write_text(FLOW)
    cloud.of(Models).deployments[HOST] = {"gpt"}
    return Place(cloud, add_workspace(cloud), cloud.directory.principal("endpoint"), tmp_path / "models")


def wait_for(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> re.Match[str]:
    deadline = time.monotonic() + 60
    while not (found := re.search(pattern, log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found


def score(port: int, text: str, **more: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/score", json.dumps({"text": text, **more}))
    answer = connection.getresponse()
    said = answer.status, json.loads(answer.read())
    connection.close()
    return said


def model_calls(cloud: Cloud) -> list[str]:
    return [each.url for each in cloud.exchanges if HOST in each.url]


@pytest.mark.parametrize("properties", [{"authType": "ApiKey", "credentials": {"key": KEY}}, {"authType": "AAD"}])
def test_it_reads_its_connection_and_calls_the_bound_model(place: Place, tmp_path: Path, properties: Any) -> None:
    place.connect(**properties)
    place.grant()
    log = tmp_path / "log"
    with place.running(log) as process:
        port = int(wait_for(log, r"on port (\d+)", process)[1])
        status, said = score(port, "hello")
        assert (status, said["choices"]) == (200, 1), said
        assert KEY not in said["given"]
        assert '"api_key": "sluice"' in said["given"]
        assert [score(port, "again")[0] for _ in range(3)] == [200] * 3
    urls = model_calls(place.cloud)
    assert urls == [f"https://{HOST}/openai/deployments/gpt/chat/completions?api-version=2024-06-01"] * 4
    assert KEY not in log.read_text()
    assert place.environment()["MSI_SECRET"] not in log.read_text()


SPILL = """
import sys
def answer(text: str, connections: dict) -> dict:
    token = connections["aoai"]["secrets"]["token"]
    print("printed", token)
    sys.stderr.write(f"said {token} without an end")
    if text == "raise":
        raise ValueError(f"no luck with {token}")
    return {"choices": token, "given": {token: int(connections["aoai"]["secrets"]["pin"])}}
"""


def test_what_user_code_does_with_a_custom_secret_shows_none(place: Place, tmp_path: Path) -> None:
    secrets = {"token": 'to"k\u00e4n-line\n-0123456', "pin": "7654321"}
    place.connect(
        category="CustomKeys", authType="CustomKeys", metadata={"url": "https://x"}, credentials={"keys": secrets}
    )
    place.grant()
    (place.models / "chat" / "flow" / "app.py").write_text(SPILL)
    log = tmp_path / "log"
    with place.running(log) as process:
        port = int(wait_for(log, r"on port (\d+)", process)[1])
        assert score(port, "a") == (200, {"choices": "[redacted]", "given": {"[redacted]": "[redacted]"}})
        status, said = score(port, "raise")
        assert (status, said["error"]["message"]) == (500, "ValueError: no luck with [redacted]")
        process.terminate()
        assert process.wait(10) == 0
    text = log.read_text()
    assert "printed [redacted]" in text
    assert "without an end" in text
    assert "0123456" not in text
    assert "7654321" not in text


@pytest.mark.real
@pytest.mark.timeout(300)
def test_a_shipped_prompt_flow_is_served(place: Place, tmp_path: Path, promptflow_python: Path) -> None:
    place.connect(authType="ApiKey", credentials={"key": KEY})
    place.grant()
    shutil.rmtree(place.models / "chat")
    shutil.copytree(REPOSITORY / "flows" / "named_entity_recognition", place.models / "ner" / "flow")
    log = tmp_path / "log"
    text = "Harriet Osei flew from Leeds to Lisbon on 4 March 2024."
    with place.running(log, python=str(promptflow_python), TMPDIR=str(tmp_path)) as process:
        port = int(wait_for(log, r"on port (\d+)", process)[1])
        status, said = score(port, text, entity_type="location")
        assert (status, sorted(said["entities"])) == (200, ["Leeds", "Lisbon"]), said
    assert set(model_calls(place.cloud)) == {
        f"https://{HOST}/openai/deployments/gpt/chat/completions?api-version=2024-06-01"
    }


def test_a_rotated_key_needs_no_new_deployment(place: Place, tmp_path: Path) -> None:
    place.connect(authType="ApiKey", credentials={"key": KEY})
    place.grant()
    log = tmp_path / "log"
    with place.running(log) as process:
        port = int(wait_for(log, r"on port (\d+)", process)[1])
        place.connect(authType="ApiKey", credentials={"key": "another-0123456789"})
        assert score(port, "hello")[0] == 200
        wait_for(log, "the key was rotated", process)
    assert "0123456789" not in log.read_text()


def test_it_waits_for_its_role_and_says_so(place: Place, tmp_path: Path) -> None:
    place.connect(authType="ApiKey", credentials={"key": KEY})
    log = tmp_path / "log"
    with place.running(log) as process:
        said = wait_for(log, r"connection team-aoai: status 403: .*", process)[0]
        assert "takes minutes to work" in said
        assert "trying again in 2 s" in said
        place.grant()
        wait_for(log, r"on port (\d+)", process)


def test_without_the_role_it_ends_with_what_to_do(place: Place, tmp_path: Path) -> None:
    place.connect(authType="ApiKey", credentials={"key": KEY})
    place.grant("7f951dda-4ed3-4680-a7ca-43fe172d538d")  # another one
    log = tmp_path / "log"
    with place.running(log, SLUICE_ACCESS_SECONDS="1") as process:
        assert process.wait(30) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("can't serve: connection team-aoai: status 403: AuthorizationFailed")
    assert "Connection Secrets Reader" in last


def test_an_absent_connection_is_not_waited_for(place: Place, tmp_path: Path) -> None:
    place.grant()
    log = tmp_path / "log"
    with place.running(log) as process:
        assert process.wait(30) == 1
    assert len(log.read_text().splitlines()) == 1
    assert "can't serve: connection team-aoai: status 404" in log.read_text()


def test_an_identity_that_is_nobodys_is_said(place: Place, tmp_path: Path) -> None:
    place.connect(authType="ApiKey", credentials={"key": KEY})
    log = tmp_path / "log"
    with place.running(log, MSI_SECRET="wrong", SLUICE_ACCESS_SECONDS="1") as process:
        assert process.wait(30) == 1
    assert "the managed identity gave no token: status 4" in log.read_text().splitlines()[-1]
    assert "wrong" not in log.read_text()


def test_asked_to_end_while_it_waits_it_ends(place: Place, tmp_path: Path) -> None:
    place.connect(authType="ApiKey", credentials={"key": KEY})
    log = tmp_path / "log"
    with place.running(log) as process:
        wait_for(log, "trying again", process)
        process.terminate()
        assert process.wait(10) == 1
    assert "ended before it could be read" in log.read_text()
