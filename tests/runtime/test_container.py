"""`python -m sluice_runner.container` as a process: what it needs, what it serves, what it says, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from runner_fixture import RUNTIME

from orchestration.values import sha256

sys.path.insert(0, str(RUNTIME))
from sluice_runner.container import Bound, Config, Refused, find_flow

PLACE = (
    "deployment.subscription_id=s,deployment.resource_group=g,deployment.workspace_name=w,"
    "deployment.endpoint_name=e,deployment.deployment_name=d1"
)
JUDGED = ("flow", "deployments", "lock.txt")
FLOW = """
import os, time
def answer(text: str, do: str = "") -> dict:
    if do == "sleep":
        time.sleep(1)
    if do == "no_proxy":
        return {"label": os.environ["NO_PROXY"]}
    return {"label": text.upper()}
"""


def write_flow(folder: Path, code: str = FLOW) -> Path:
    folder.mkdir(parents=True)
    (folder / "callable.toml").write_text('entry = "app:answer"\noutputs = ["label"]\n')
    (folder / "app.py").write_text(code)
    return folder


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A model as Azure ML mounts it; read-only."""
    write_flow(tmp_path / "models" / "ticket" / "flow")
    (tmp_path / "models" / "ticket" / "lock.txt").write_text("")
    (tmp_path / "models" / "ticket" / "MLmodel").write_text("{}")
    (tmp_path / "models" / "ticket" / "flow" / 'ä\u2028"\t\x7f.txt').write_text(
        "a name that JSON writes in its own way"
    )
    return tmp_path / "models"


def content_of(model: Path, variant: str | None = None) -> str:
    """As the orchestrator takes it; what else a model holds is not judged."""
    judged = [p for p in model.rglob("*") if p.is_file() and p.relative_to(model).parts[0] in JUDGED]
    files = {p.relative_to(model).as_posix(): sha256(p.read_bytes()) for p in judged}
    return sha256({"files": files, "variant": variant})


class Container:
    """The running process and its log."""

    def __init__(self, **environment: str) -> None:
        kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(RUNTIME), "PYTHONUNBUFFERED": "1", "SLUICE_PORT": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sluice_runner.container"],
            env=kept | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()

    def line(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            return next((m for each in self.lines if (m := re.search(pattern, each))), None)

        with self._changed:
            match = self._changed.wait_for(found, timeout=seconds)
        assert match, self.lines
        return match

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        said = answer.status, json.loads(answer.read())
        connection.close()
        return said

    @property
    def port(self) -> int:
        return int(self.line(r"on port (\d+)")[1])

    def end(self) -> int:
        code = self.process.wait(timeout=30)
        self._reading.join()
        return code


@contextmanager
def container(**environment: str) -> Iterator[Container]:
    running = Container(**environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.end()
        assert running.process.stdout is not None
        running.process.stdout.close()


def test_it_serves_what_is_mounted_without_asking_for_a_token(mounted: Path) -> None:
    content = content_of(mounted / "ticket")
    with container(AZUREML_MODEL_DIR=str(mounted), PRT_CONFIG_OVERRIDE=PLACE, SLUICE_CONTENT=content) as running:
        assert running.ask("POST", "/score", {"text": "hot"}) == (200, {"label": "HOT"})
        assert running.ask("GET", "/health") == (200, {"status": "Healthy"})
        assert running.ask("GET", "/version")[1]["deployment"] == "d1"
        assert running.ask("GET", "/swagger.json")[1]["info"]["title"] == "d1"
        assert running.ask("POST", "/score", {})[0] == 400
        assert running.line("d1 serves ticket .callable. on port")


def test_model_calls_stay_on_this_machine_whatever_proxy_is_set(mounted: Path) -> None:
    with container(AZUREML_MODEL_DIR=str(mounted), HTTP_PROXY="http://p:1", NO_PROXY="a.example") as running:
        assert running.ask("POST", "/score", {"text": "", "do": "no_proxy"})[1] == {
            "label": "a.example,127.0.0.1,localhost"
        }


def test_asked_to_end_it_answers_what_is_in_flight(mounted: Path) -> None:
    answers: list[tuple[int, Any]] = []
    with container(AZUREML_MODEL_DIR=str(mounted)) as running:
        request = {"text": "a", "do": "sleep"}
        running.ask("GET", "/health")
        threads = [
            threading.Thread(target=lambda: answers.append(running.ask("POST", "/score", request))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 0
        for thread in threads:
            thread.join()
    assert answers == [(200, {"label": "A"})] * 3
    assert "finishing" in running.lines[-1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"AZUREML_MODEL_DIR": ""}, "AZUREML_MODEL_DIR is not set"),
        ({"AZUREML_MODEL_DIR": "/nowhere"}, "/nowhere, which is no folder"),
        ({"SLUICE_CONNECTIONS": "[1]"}, "SLUICE_CONNECTIONS is not JSON like"),
        ({"SLUICE_CONNECTIONS": '{"a": {"connection": "c"}}'}, "PRT_CONFIG_OVERRIDE lacks deployment.subscription_id"),
        (
            {"SLUICE_CONNECTIONS": '{"a": {"connection": "c"}}', "PRT_CONFIG_OVERRIDE": PLACE},
            "connection c: there is no managed identity here",
        ),
        ({"SLUICE_VARIANT": "${a.b}"}, "a callable has no variants"),
        ({"SLUICE_CONTENT": "0" * 64}, "other content than was judged"),
        ({"SLUICE_PORT": "eight"}, "SLUICE_PORT is no number"),
        ({"SLUICE_CONCURRENCY": "0.5"}, "SLUICE_CONCURRENCY is 0.5"),
    ],
)
def test_what_keeps_it_from_serving_is_one_line(mounted: Path, change: dict[str, str], says: str) -> None:
    with container(**{"AZUREML_MODEL_DIR": str(mounted)} | change) as running:
        assert running.end() == 1
    assert len(running.lines) == 1
    assert running.lines[0].startswith("can't serve: ")
    assert says in running.lines[0]


def test_a_flow_that_raises_says_where(tmp_path: Path) -> None:
    write_flow(tmp_path / "m" / "flow", "\nimport nothing_of_that_name\n")
    with container(AZUREML_MODEL_DIR=str(tmp_path)) as running:
        assert running.end() == 1
    assert "app.py:2" in running.lines[-1]


@pytest.mark.parametrize("what", ["changed", "added", "removed", "deployments", "variant"])
def test_other_files_than_those_that_were_judged_are_not_served(mounted: Path, what: str) -> None:
    model = mounted / "ticket"
    content = content_of(model, "${a.b}" if what == "variant" else None)
    if what == "removed":
        (model / "lock.txt").unlink()
    elif what != "variant":
        name = {"changed": "flow/app.py", "added": "flow/sub/extra.py", "deployments": "deployments/model.yaml"}[what]
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text(FLOW + "\n")
    with container(AZUREML_MODEL_DIR=str(mounted), SLUICE_CONTENT=content) as running:
        assert running.end() == 1
    assert "other content than was judged" in running.lines[-1]


def test_bytecode_and_what_only_mlflow_reads_are_no_part_of_it(mounted: Path) -> None:
    content = content_of(mounted / "ticket")
    cache = mounted / "ticket" / "flow" / "__pycache__"
    cache.mkdir()
    (cache / "app.cpython-311.pyc").write_bytes(b"x")
    (mounted / "ticket" / "MLmodel").write_text("{}\n")
    with container(AZUREML_MODEL_DIR=str(mounted), SLUICE_CONTENT=content) as running:
        assert running.ask("GET", "/health")[0] == 200


@pytest.mark.parametrize("layout", ["flow", "m/flow", "m", "."])
def test_the_flow_is_found_in_every_layout(tmp_path: Path, layout: str) -> None:
    (tmp_path / "models").mkdir()
    target = tmp_path / "models" / layout
    if layout == ".":
        target.rmdir()
    assert find_flow(tmp_path / "models" if write_flow(target) else tmp_path).resolve() == target.resolve()


def test_two_flows_or_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="it is empty"):
        find_flow(tmp_path)
    write_flow(tmp_path / "a" / "flow")
    write_flow(tmp_path / "b" / "flow")
    with pytest.raises(Refused, match="more than one"):
        find_flow(tmp_path)


def test_the_configuration_comes_from_the_environment() -> None:
    connections = {"aoai": {"connection": "my-aoai", "model_deployment": "gpt"}, "search": {"connection": "s"}}
    config = Config.read(
        {
            "AZUREML_MODEL_DIR": "/m",
            "PRT_CONFIG_OVERRIDE": PLACE,
            "SLUICE_CONNECTIONS": json.dumps(connections),
            "SLUICE_VARIANT": "${a.b}",
            "SLUICE_CONCURRENCY": "50",
        }
    )
    assert config.workspace == (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"
    )
    assert config.connections == {"aoai": Bound("my-aoai", "gpt"), "search": Bound("s", None)}
    assert (config.name, config.variant, config.concurrency, config.port) == ("d1", "${a.b}", 50, 8080)
