"""Calling an endpoint on Azure: with its key, which stays in memory; what Azure answers in the model's place keeps its status."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from azure_emulator.faults import Reset, Status
from azure_emulator.kinds import Resource
from azure_emulator.scoring import Scoring
from release_project import ENDPOINT, ReleaseProject

from orchestration.errors import PlatformTimeout, PlatformUnavailable, ResourceNotFound
from orchestration.platforms.base import OnlineDeployment

KIND = OnlineDeployment.kind
INPUTS = {"question": "it's"}
SLOW = """
import os, time
def answer(question: str) -> str:
    if question == "slow":
        time.sleep(3)
    if question == "broken":
        raise ValueError("no answer to that")
    return question.upper()
"""


def endpoint(project: ReleaseProject) -> Resource:
    found = project.cloud.arm.peek(f"{project.workspace.id}/onlineEndpoints/{ENDPOINT}")
    assert found is not None
    return found


def keys_read(project: ReleaseProject) -> int:
    return sum("/listKeys" in each.url for each in project.cloud.exchanges)


@pytest.mark.parametrize("status", [404, 408, 429, 500, 502, 503])
def test_what_azure_answers_keeps_its_status(project: ReleaseProject, status: int) -> None:
    project.ready_endpoint()
    project.cloud.scenario.fault("POST", "score", Status(status, "Code", "It is said."))
    answer = project.platform.invoke(ENDPOINT, INPUTS, deployment="green")
    assert (answer.status, answer.deployment) == (status, "")
    assert "It is said." in str(answer.body)


def test_a_failed_container_says_with_what(project: ReleaseProject) -> None:
    project.ready_endpoint()
    headers = {"ms-azureml-model-error-statuscode": "500", "ms-azureml-model-error-reason": "ValueError"}
    project.cloud.scenario.fault("POST", "score", Status(424, "Code", "Model failed.", headers))
    answer = project.platform.invoke(ENDPOINT, INPUTS)
    assert answer.status == 424
    assert headers.items() <= dict(answer.body).items()  # type: ignore[arg-type]


def test_the_key_is_read_once_and_again_when_it_was_changed(project: ReleaseProject) -> None:
    project.ready_endpoint()
    for _ in range(3):
        assert project.platform.invoke(ENDPOINT, INPUTS).status == 404  # nobody has traffic
    assert keys_read(project) == 1
    endpoint(project).data["keys"] = {"primaryKey": "another-key", "secondaryKey": "x"}
    assert project.platform.invoke(ENDPOINT, INPUTS).status == 404
    assert keys_read(project) == 2
    assert [each.status for each in project.cloud.of(Scoring).answered] == [404, 404, 404, 401, 404]


def test_a_key_that_is_refused_is_not_asked_for_for_ever(project: ReleaseProject) -> None:
    project.ready_endpoint()
    project.cloud.scenario.fault("POST", "score", Status(401, "Unauthorized", "No."), times=9)
    assert project.platform.invoke(ENDPOINT, INPUTS).status == 401
    assert project.platform.invoke(ENDPOINT, INPUTS).status == 401
    assert keys_read(project) == 2


def test_an_endpoint_that_takes_tokens(project: ReleaseProject) -> None:
    folder = project.root / "deployments" / "echo"
    folder.mkdir(parents=True)
    (folder / "endpoint.yaml").write_text("auth_mode: aml_token\n")
    project.candidate = project.take()
    project.ready_endpoint()
    assert project.platform.invoke(ENDPOINT, INPUTS).status == 404
    assert keys_read(project) == 0


def test_nothing_answers(project: ReleaseProject) -> None:
    project.ready_endpoint()
    assert project.platform.invoke(ENDPOINT, INPUTS).status == 404
    project.cloud.scenario.fault("POST", "score", Reset())
    with pytest.raises(PlatformUnavailable, match=r"inference\.ml\.azure\.com/score does not answer"):
        project.platform.invoke(ENDPOINT, INPUTS)
    with pytest.raises(ResourceNotFound, match="There is no endpoint echo-prod"):
        project.platform.invoke("echo-prod", INPUTS)


def test_the_key_is_in_no_text_of_ours(project: ReleaseProject, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    project.ready_endpoint()
    project.platform.invoke(ENDPOINT, INPUTS)
    key = endpoint(project).data["keys"]["primaryKey"]
    assert key not in repr(project.session.doors)
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("azure_emulator")]
    assert ours
    assert not [line for line in ours if key in line]
    assert key not in project.platform.example(ENDPOINT, INPUTS)


def test_the_example_works_in_a_shell(project: ReleaseProject, tmp_path: Path) -> None:
    """Run with an `az` that answers as the real one does."""
    project.ready_endpoint()
    key = endpoint(project).data["keys"]["primaryKey"]
    (tmp_path / "az").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nprintf %s {key}\n')
    (tmp_path / "az").chmod(0o755)
    example = project.platform.example(ENDPOINT, INPUTS)
    assert key not in example
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", example], env=environment, capture_output=True, text=True, timeout=30)
    assert "has no deployment that takes this request" in done.stdout, done.stderr
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("ml online-endpoint get-credentials -n echo-dev -g team -w studio")
    sent = next(each for each in project.cloud.exchanges if each.url.endswith("/score"))
    assert sent.request_body == b'{"question": "it\'s"}'


@pytest.mark.real
@pytest.mark.usefixtures("blobs")
def test_a_container_that_fails_and_one_that_is_slow(project: ReleaseProject) -> None:
    project.candidate = project.take(**{"answer.py": SLOW})
    project.ready_endpoint()
    wanted = project.deployment(project.register())
    project.platform.create(wanted)
    project.cloud.clock.sleep(3000)

    def ask(question: str, **more: Any) -> Any:
        return project.platform.invoke(ENDPOINT, {"question": question}, deployment=wanted.name, **more)

    good, broken = ask("a"), ask("broken")
    assert (good.status, good.body, good.deployment) == (200, {"answer": "A"}, wanted.name)
    assert 0 < good.seconds < 30
    assert (broken.status, broken.deployment) == (424, wanted.name)
    assert broken.body["ms-azureml-model-error-statuscode"] == "500"
    started = time.monotonic()
    with pytest.raises(PlatformTimeout, match=r"was not ready after 0\.5 s"):
        ask("slow", timeout_seconds=0.5)
    assert time.monotonic() - started < 2.5
