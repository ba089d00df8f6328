"""A workspace of an emulated cloud in which promptflow's own client runs prompt flows."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import requests
from azure_clients import SECRET
from azure_emulator import Cloud
from azure_emulator.children import OUTSIDE
from azure_emulator.prompt_flow.work import LOCK, RUNTIMES
from azure_emulator.runtimes import Runtimes
from prompt_flow_calls import Calls

REPOSITORY = Path(__file__).resolve().parents[3]
SCRIPT = Path(__file__).with_name("submit_runs.py")
HOST = "contoso.openai.azure.com"
QUIET = {"APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true"}
CONFIGURATION = "telemetry: {enabled: false}\ntrace: {destination: none}\n"
CHECKED = '{"last_check_time": "9999-01-01 00:00:00.0"}'  # else it looks for a newer version of itself


class PromptFlowWorld(Calls):
    """A workspace with a connection `aoai`, and an application that may do all in it."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        super().__init__(cloud)
        self.folder = folder
        self.application = cloud.directory.register(secret=SECRET)
        properties = {
            "category": "AzureOpenAI",
            "authType": "ApiKey",
            "target": f"https://{HOST}/",
            "credentials": {"key": "k-made-up"},
            "metadata": {"ApiVersion": "2024-10-21", "ApiType": "azure"},
        }
        address = f"https://management.azure.com{self.workspace.id}/connections/aoai?api-version=2024-10-01"
        answer = requests.put(address, json={"properties": properties}, headers=self.headers, timeout=10)
        assert answer.status_code == 200, answer.text

    def learn(self, *runs: dict[str, Any]) -> Any:
        """Submit runs one after the other and wait for each; what the client learned of them."""
        order = self.folder / "order.json"
        learned = self.folder / "learned.json"
        scope = {
            "subscription_id": self.workspace.subscription_id,
            "resource_group_name": self.workspace.resource_group,
            "workspace_name": self.workspace.name,
        }
        sign_in = {"tenant_id": self.cloud.directory.tenant, "client_id": self.application.principal.client_id}
        order.write_text(json.dumps({"workspace": scope, "sign_in": sign_in, "runs": runs, "learned": str(learned)}))
        done = subprocess.run(
            [python(), SCRIPT, order], env=self._environment(), capture_output=True, text=True, timeout=170, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(learned.read_text())

    def _environment(self) -> dict[str, str]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        (home / "pf.yaml").write_text(CONFIGURATION)
        (home / "pf_version_check.json").write_text(CHECKED)
        base = {"PATH": OUTSIDE.get("PATH", os.defpath), "HOME": str(home), "PF_HOME_DIRECTORY": str(home)}
        return {**base, **QUIET, **self.cloud.environment(), "AZURE_SECRET": SECRET}


def python() -> Path:
    """An interpreter with promptflow's Azure client, built once and kept."""
    return asyncio.run(Runtimes(RUNTIMES).of(LOCK))
