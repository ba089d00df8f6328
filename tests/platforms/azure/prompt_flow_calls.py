"""Calls to the emulated prompt flow service sent by hand, as the service's published description has them."""

from __future__ import annotations

import json
import textwrap
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from azure_clients import bearer
from azure_emulator import Cloud
from azure_emulator.blob import BlobStorage
from azure_emulator.machine_learning import Workspace, add_workspace
from azure_emulator.prompt_flow import FlowRuntimes

INSTANCE = {"location": "westeurope", "properties": {"computeType": "ComputeInstance", "properties": {"vmSize": "S"}}}
NEW = {"runtimeType": "ComputeInstance", "computeInstanceName": "ci1"}
ROOT = "azureml://datastores/workspaceblobstore/paths"
# Doubles a number; a negative one can't be doubled. The aggregation adds the answers up.
FLOW = {
    "flow.dag.yaml": """
        inputs: {n: {type: int}}
        outputs: {m: {type: int, reference: "${double.output}"}}
        nodes:
        - {name: double, type: python, source: {type: code, path: double.py}, inputs: {n: "${inputs.n}"}}
        - {name: add, type: python, source: {type: code, path: add.py}, inputs: {m: "${double.output}"}, aggregation: true}
        """,
    "double.py": """
        import os
        from promptflow.core import tool

        @tool
        def double(n: int) -> int:
            if n < 0:
                raise ValueError(f"{n} is negative")
            return int(os.environ.get("FACTOR", "2")) * n
        """,
    "add.py": """
        from promptflow.core import log_metric, tool

        @tool
        def add(m: list):
            log_metric("sum", float(sum(m)))
        """,
}


class Calls:
    """A workspace with a compute instance `ci1`, and what one may ask prompt flow's service about it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.workspace: Workspace = add_workspace(cloud, subscription_id=str(uuid.uuid4()), name="studio")
        self.computes = f"{self.workspace.id}/computes"
        cloud.arm.seed(f"{self.computes}/ci1", INSTANCE)
        self.headers = bearer(cloud)
        self.runtimes = cloud.of(FlowRuntimes)

    def send(
        self, method: str, path: str, body: Any = None, *, host: str = "", service: str = "flow/api", **more: Any
    ) -> requests.Response:
        """`path` begins behind the workspace."""
        address = f"https://{host or 'westeurope.api.azureml.ms'}/{service}{self.workspace.id}/{path}"
        return requests.request(method, address, json=body, headers=self.headers, timeout=60, **more)

    def body(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of an answer that must be a success."""
        answer = self.send(method, path, body, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def code(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Status and inner code of an answer that must be an error in the services' own envelope."""
        answer = self.send(method, path, body, **more)
        said = answer.json()
        assert said["statusCode"] == answer.status_code
        assert {"correlation", "environment", "location", "time", "componentName"} <= said.keys()
        assert "runtimeName" not in said
        return answer.status_code, said["error"]["innerError"]["code"]

    def create(self, name: str = "rt1", **more: Any) -> Any:
        """Begin to create a runtime."""
        return self.body("POST", f"FlowRuntimes/{name}?asyncCall=true", {**NEW, **more})

    def status(self, name: str = "rt1", **more: Any) -> str | None:
        """Its status; None is what a ready one has."""
        found = self.body("GET", f"FlowRuntimes/{name}", **more)
        assert found["runtimeName"] == name
        status: str | None = found.get("status")
        return status

    def put(self, name: str, files: dict[str, str], folder: Path) -> str:
        """Files in the workspace's storage; returns the address of their folder."""
        local = folder / name
        local.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (local / file).write_text(textwrap.dedent(text).lstrip())
        self.cloud.call(self.cloud.of(BlobStorage).upload(self.workspace.container, local, name))
        return f"{ROOT}/{name}"

    def order(self, folder: Path, numbers: Sequence[int] = (1, 2, 3), **more: Any) -> dict[str, Any]:
        """What one submits to run `FLOW` on these numbers; `files` replaces files of the flow."""
        flow = self.put("double", {**FLOW, **more.pop("files", {})}, folder)
        data = self.put("numbers", {"data.jsonl": "".join(f"{json.dumps({'n': n})}\n" for n in numbers)}, folder)
        wanted = {
            "flowDefinitionDataUri": f"{flow}/flow.dag.yaml",
            "batchDataInput": {"dataUri": f"{data}/data.jsonl"},
            "inputsMapping": {"n": "${data.n}"},
        }
        return {**wanted, **more}

    def submit(self, order: dict[str, Any], id_: str = "run1") -> None:
        assert self.body("POST", "BulkRuns/submit", {**order, "runId": id_}) == id_

    def record(self, id_: str = "run1") -> Any:
        """The record of a run in the history."""
        asked = {"runId": id_, "selectRunMetadata": True}
        return self.body("POST", "rundata", asked, service="history/v1.0")["runMetadata"]

    def run_status(self, id_: str = "run1") -> str:
        return str(self.record(id_)["status"])

    def ended(self, id_: str = "run1") -> Any:
        """The record of a run when all that takes time has ended."""
        for _ in range(12):
            self.cloud.clock.sleep(1000)
            if self.run_status(id_) in ("Completed", "Failed", "Canceled"):
                break
        return self.record(id_)

    def lines(self, id_: str = "run1", query: str = "startIndex=0&endIndex=24") -> Any:
        return self.body("GET", f"BulkRuns/{id_}/childRuns?{query}")

    def metrics(self, id_: str = "run1") -> dict[str, float]:
        found = self.body("POST", f"runs/{id_}/lastvalues", {}, service="metric/v2.0")["value"]
        return {each["name"]: each["value"][0]["data"][each["name"]] for each in found}
