"""The image that serves on Azure: what it is made of, and that its steps, run in an empty folder, serve prompt flows.

No container engine is needed: a virtual environment takes the place of the image. It was not built by one.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure_emulator import Cloud
from azure_project import azure_project, deployed, settings_of, take
from containerfile_steps import Built, build
from release_project import ReleaseProject, release_project
from small_project import REPOSITORY, Project

from orchestration.errors import ResourceRefused
from orchestration.platforms.azure import render
from orchestration.platforms.azure.serving_environment import containerfile, environment, register, routes

MICROSOFT = "mcr.microsoft.com/azureml/promptflow/promptflow-runtime:20240101.v1"
PROMPTFLOW = REPOSITORY / "requirements" / "promptflow.txt"
FIXTURES = REPOSITORY / "tests" / "flows" / "fixtures"


def test_the_context_holds_the_lock_the_runner_and_nothing_else() -> None:
    found = environment("a==1 \\\n    --hash=sha256:0\n").files
    assert found["lock.txt"] == b"a==1 \\\n    --hash=sha256:0\n"
    runner = {path for path in found if path.startswith("sluice_runner/")}
    assert {"sluice_runner/container.py", "sluice_runner/azure/identity.py", "sluice_runner/py.typed"} <= runner
    assert set(found) == runner | {"lock.txt", "Containerfile"}
    assert not [path for path in found if "__pycache__" in path]


def test_the_same_content_is_the_same_environment_and_other_content_another() -> None:
    one = environment("a==1\n")
    assert (one.name, one.version) == (environment("a==1\n").name, environment("a==1\n").version)
    assert re.fullmatch(r"[0-9a-f]{16}", one.version)
    assert len({one.version, environment("a==2\n").version, environment("").version}) == 3
    images = {environment("", image=MICROSOFT).version, environment("", image=f"{MICROSOFT}2").version}
    assert len(images) == 2


def test_requirements_are_checked_by_their_hashes_and_the_process_is_not_root() -> None:
    lines = containerfile(empty=False).splitlines()
    install = next(line for line in lines if "pip install" in line)
    assert {"--require-hashes", "--no-deps"} <= set(install.split())
    assert "index" not in install
    assert int(next(line for line in lines if line.startswith("USER")).split()[1]) > 0
    assert lines.index(next(line for line in lines if line.startswith("USER"))) > lines.index(install)
    assert lines[-1] == 'CMD ["python", "-P", "-m", "sluice_runner.container"]'
    assert "pip" not in containerfile(empty=True)


def test_the_routes_are_those_of_the_container() -> None:
    assert {name: (route["path"], route["port"]) for name, route in routes().items()} == {
        "liveness_route": ("/health", 8080),
        "readiness_route": ("/health", 8080),
        "scoring_route": ("/score", 8080),
    }
    assert "SLUICE_PORT=8080" in containerfile(empty=True)


def test_microsofts_image_is_taken_as_it_is() -> None:
    found = environment("a==1\n", image=MICROSOFT)
    assert (found.image, found.files) == (MICROSOFT, {})


def test_what_writes_the_context_is_all_that_the_steps_need(tmp_path: Path) -> None:
    found = environment("")
    found.write(tmp_path)
    assert {
        p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()
    } == found.files


# ---- in the workspace


@pytest.fixture
def project(cloud: Cloud, tmp_path: Path) -> ReleaseProject:
    return release_project(tmp_path / "project", cloud)


def writes(project: ReleaseProject) -> list[str]:
    return [each for each in project.writes if each.startswith("PUT environments/")]


def test_it_is_registered_once(project: ReleaseProject) -> None:
    wanted = environment("a==1\n")
    first = register(project.session, wanted, tags={"prompt_flow": "echo"})
    assert first.endswith(f"/environments/sluicegate-serving/versions/{wanted.version}")
    assert register(project.session, wanted, tags={}) == first
    assert writes(project) == [f"PUT environments/sluicegate-serving/versions/{wanted.version}"]
    registered = project.cloud.arm.peek(first)
    assert registered is not None
    assert registered.properties["build"]["dockerfilePath"] == "Containerfile"
    assert registered.properties["inferenceConfig"]["scoringRoute"] == {"path": "/score", "port": 8080}
    assert registered.properties["tags"] == {"sluice": "1", "prompt_flow": "echo"}


def test_microsofts_image_is_registered_by_its_name(project: ReleaseProject) -> None:
    found = project.cloud.arm.peek(register(project.session, environment("", image=MICROSOFT), tags={}))
    assert found is not None
    assert found.properties["image"] == MICROSOFT
    assert found.properties["inferenceConfig"]["livenessRoute"] == {"path": "/health", "port": 8080}


def test_one_of_somebody_elses_is_not_used(project: ReleaseProject) -> None:
    wanted = environment("a==1\n")
    path = register(project.session, wanted, tags={})
    registered = project.cloud.arm.peek(path)
    assert registered is not None
    registered.properties["tags"] = {}
    with pytest.raises(ResourceRefused, match=f"environment sluicegate-serving {wanted.version}"):
        register(project.session, wanted, tags={})


# ---- the steps, run


@contextmanager
def serving(built: Built, environment: dict[str, str], log: Path) -> Iterator[int]:
    """The port of a container that serves."""
    process = built.start({**environment, "SLUICE_PORT": "0"}, log=log)
    try:
        yield _port(process, log)
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


def _port(process: Any, log: Path) -> int:
    deadline = time.monotonic() + 90
    while not (found := re.search(r"on port (\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return int(found[1])


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, None if body is None else json.dumps(body))
    answer = connection.getresponse()
    said = answer.status, json.loads(answer.read())
    connection.close()
    return said


@contextmanager
def mounted(project: Project, folder: Path) -> Iterator[dict[str, str]]:
    """The project's prompt flow as a release uploads and Azure mounts it, with the variables of its deployment."""
    candidate, settings = take(project), settings_of(project)
    with render.model(settings, candidate) as model:
        (folder / "models").mkdir()
        mount = folder / "models" / Path(model.path).name
        Path(model.path).rename(mount)
        entity = render.deployment(settings, deployed(project, candidate))
        yield {**entity.environment_variables, "AZUREML_MODEL_DIR": str(mount.parent)}


def built_for(lock: str, folder: Path) -> Built:
    context = folder / "context"
    context.mkdir(parents=True)
    environment(lock).write(context)
    return build(context, folder)


def test_the_steps_make_a_container_that_serves_a_callable(tmp_path: Path) -> None:
    built = built_for("", tmp_path / "image")
    assert built.user == "10001"
    assert built.variables["HOME"] == "/tmp"
    project = azure_project(tmp_path / "project", connections="[]")
    with mounted(project, tmp_path) as variables, serving(built, variables, tmp_path / "log") as port:
        assert ask(port, "POST", "/score", {"question": "hello"}) == (200, {"answer": "HELLO"})
        assert ask(port, "GET", "/health")[0] == 200
        assert ask(port, "GET", "/version")[1] == {"version": "0.1.0", "framework": "callable", "deployment": "d1"}


@pytest.mark.real
@pytest.mark.timeout(900)
def test_the_steps_make_a_container_that_serves_a_promptflow_flow(tmp_path: Path) -> None:
    built = built_for(PROMPTFLOW.read_text(), tmp_path / "image")
    assert any("--require-hashes" in step for step in built.ran)
    project = azure_project(tmp_path / "project", connections="[]")
    (project.flow / "callable.toml").unlink()
    for file in (FIXTURES / "exact_answer").iterdir():
        (project.flow / file.name).write_bytes(file.read_bytes())
    with mounted(project, tmp_path) as variables, serving(built, variables, tmp_path / "log") as port:
        assert ask(port, "POST", "/score", {"answer": " Rome", "truth": "rome"}) == (200, {"match": 1.0})
        assert ask(port, "GET", "/version")[1]["framework"] == "promptflow"
        assert ask(port, "POST", "/score", {"answer": "x"})[0] == 400
