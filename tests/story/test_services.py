"""`sluice up`, a run through Prefect's own command line, `sluice down`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
PREFECT = Path(sys.executable).parent / "prefect"


def prefect(project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PREFECT, *arguments], cwd=project.root, env=project.environment(), capture_output=True, text=True, timeout=200
    )


def test_up_then_prefects_own_command_then_down(project) -> None:
    up = project.json("up")
    settings = tomllib.loads((project.root / "prefect.toml").read_text())
    assert (project.root / "prefect.toml").stat().st_mode & 0o777 == 0o600
    api, auth = settings["api"]["url"], tuple(settings["api"]["auth_string"].split(":"))
    assert up["api_url"] == api
    assert httpx.get(up["mlflow_ui"], timeout=60).status_code == 200
    assert httpx.get(f"{api}/admin/version").status_code == 401

    done = prefect(project, "deployment", "run", "evaluate-deploy/dev", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr

    with httpx.Client(base_url=api, auth=auth, timeout=30) as client:
        runs = client.post("/flow_runs/filter", json={}).json()
        states = {run["name"].split()[0]: run["state"]["name"] for run in runs}
        assert states == {"tiny": "Released", "evaluate": "Completed", "register": "Completed", "deploy": "Completed"}
        artifacts = client.post("/artifacts/latest/filter", json={}).json()
        assert {a["key"] for a in artifacts} >= {f"{k}-tiny-dev" for k in ("verdict", "rules", "worst-rows", "traffic")}
        tasks = {task["name"] for task in client.post("/task_runs/filter", json={}).json()}
        assert tasks >= {"take-candidate", "accuracy-gate", "register-model", "smoke-test", "shift-traffic"}

    assert project.json("invoke", "tiny", "-e", "dev")["answer"] == {"answer": "HELLO"}

    refused = prefect(project, "deployment", "run", "evaluate-deploy/prod", "--watch")
    assert refused.returncode != 0
    with httpx.Client(base_url=api, auth=auth, timeout=30) as client:
        runs = client.post("/flow_runs/filter", json={"sort": "START_TIME_DESC"}).json()
    assert runs[0]["state"]["name"] == "Refused"
    assert "prod refuses that" in runs[0]["state"]["message"]

    project.sluice("down")
    left = [p.pid for p in psutil.process_iter(["cmdline"]) if str(project.root) in " ".join(p.info["cmdline"] or [])]
    assert left == []
    assert not (project.root / "prefect.toml").exists()
