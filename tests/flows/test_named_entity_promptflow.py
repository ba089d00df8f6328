"""Both named entity flows under promptflow's own `pf`, with the embedded model as the Azure OpenAI endpoint."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FLOWS = Path(__file__).parents[2] / "flows"
NAMES = ("named_entity_recognition", "named_entity_recognition_evaluation")

# A machine without a desktop has no keyring, in which `pf` wants to keep the key of its store: here a file of the test.
KEYRING = """
import json, os, pathlib
from keyring.backend import KeyringBackend

class Keyring(KeyringBackend):
    priority = 1
    file = pathlib.Path(os.environ["PF_HOME_DIRECTORY"]) / "keyring.json"

    def _all(self):
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def get_password(self, service, username):
        return self._all().get(f"{service}/{username}")

    def set_password(self, service, username, password):
        self.file.write_text(json.dumps({**self._all(), f"{service}/{username}": password}))
"""
QUIET = "telemetry: {enabled: false}\ntrace: {destination: none}\n"
CONNECTION = (
    "name: aoai\ntype: azure_open_ai\napi_key: dummy\napi_base: %s\napi_type: azure\napi_version: '2024-06-01'\n"
)


@pytest.fixture
def model_url():
    command = [sys.executable, "-m", "orchestration.embedded_model", "--until-eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(10)


@pytest.fixture
def pf(promptflow_python, tmp_path):
    """Run `pf` with a home of its own, in a copy of the flow, because `pf` writes into the folder."""
    for name in NAMES:
        shutil.copytree(FLOWS / name, tmp_path / name)
    (tmp_path / "pf.yaml").write_text(QUIET)
    (tmp_path / "file_keyring.py").write_text(KEYRING)
    environment = {
        **os.environ,
        "PF_HOME_DIRECTORY": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "PYTHON_KEYRING_BACKEND": "file_keyring.Keyring",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        "PF_DISABLE_TRACING": "false",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }

    def run(*arguments):
        return subprocess.run(
            [Path(promptflow_python).with_name("pf"), *arguments],
            cwd=tmp_path / NAMES[0], env=environment, capture_output=True, text=True, timeout=110, check=True,
        ).stdout  # fmt: skip

    return run


@pytest.mark.real
@pytest.mark.timeout(240)
def test_both_flows_run_unchanged_under_pf(pf, model_url, tmp_path):
    (tmp_path / "connection.yml").write_text(CONNECTION % model_url)
    pf("connection", "create", "-f", str(tmp_path / "connection.yml"))
    pf("run", "create", "-f", "run.yml", "--name", "base")
    pf("run", "create", "-f", "run_evaluation.yml", "--run", "base", "--name", "graded")

    metrics = json.loads(pf("run", "show-metrics", "--name", "graded"))
    assert 0.75 < metrics["accuracy"] < 0.92
    assert metrics["precision"] > 0.70
    rows = (FLOWS / NAMES[0] / "data.jsonl").read_text(encoding="utf-8").splitlines()
    graded = (tmp_path / ".runs/graded/flow_outputs/output.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(graded) == len(rows)
    assert sum(json.loads(line)["exact_match"] for line in graded) / len(rows) == pytest.approx(
        metrics["accuracy"], abs=1e-4
    )
