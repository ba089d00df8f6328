"""What `sluice up` keeps running: the Prefect server, a worker, the MLflow UI. Nothing here imports Prefect."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from filelock import FileLock

from orchestration import processes, tracking
from orchestration.errors import PlatformUnavailable
from orchestration.polling import every, wait_until
from orchestration.prefect_flows.private_server import (
    Server,
    ensure_server,
    find_server,
    last_line,
    private_server_runs,
    stop_server,
)

WORK_POOL = "sluice"
WORKER = "prefect-worker"
MLFLOW = "mlflow-ui"
START_SECONDS = 90
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Services:
    """Where a person finds what runs."""

    server: Server
    mlflow_url: str


def up(root: Path, state: Path, *, port: int = 0, say: Say = print) -> Services:
    """Start what doesn't run yet, register the blocks and deployments. A second `up` at the same time waits its turn."""
    with FileLock(processes.private_folder(state / "services") / "up.lock"):
        return _up(root, state, port=port, say=say)


def _up(root: Path, state: Path, *, port: int, say: Say) -> Services:
    say("Starting the Prefect server (10 s the first time)")
    server = ensure_server(root, state, port=port)
    say(f"Creating work pool {WORK_POOL}, block types and deployments")
    environment = _environment(server)
    if _prefect(root, environment, "work-pool", "inspect", WORK_POOL, check=False).returncode:
        _prefect(root, environment, "work-pool", "create", WORK_POOL, "--type", "process")
    _prefect(root, environment, "block", "register", "-f", "blocks/__init__.py")
    _prefect(root, environment, "deploy", "--all")
    say("Starting the worker and the MLflow UI")
    _start_worker(root, state, environment)
    return Services(server, _start_mlflow(root, state))


def down(root: Path, state: Path, *, say: Say = print) -> list[str]:
    """Drain and end all of it; what ended, by name. Files stay."""
    ended = []
    for name in (WORKER, MLFLOW):
        running = processes.find(name, records=state / "services")
        if running is not None:
            say(f"Ending {name}")
            processes.stop(running, records=state / "services", grace_seconds=15)
            ended.append(name)
    if stop_server(root, state):
        ended.append("prefect-server")
    for folder in (state / "services", state / "prefect"):  # what a killed one left behind
        for records, daemon in processes.left(folder):
            processes.stop(daemon, records=records)
    return ended


def running(root: Path, state: Path) -> dict[str, bool]:
    """Which services run."""
    found = {name: processes.find(name, records=state / "services") is not None for name in (WORKER, MLFLOW)}
    return {"prefect-server": private_server_runs(state) or find_server(root, state) is not None, **found}


def _environment(server: Server) -> dict[str, str]:
    """What Prefect's own commands get. For a server of the user's also the user's variables: they may sign in by them."""
    chosen = {} if server.own else {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
    return processes.clean_environment(chosen, web=True)  # the worker's flow runs call the user's providers


def _start_worker(root: Path, state: Path, environment: Mapping[str, str]) -> None:
    if processes.find(WORKER, records=state / "services"):
        return
    processes.start(
        WORKER,
        [_tool("prefect"), "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", "sluice"],
        records=processes.private_folder(state / "services"),
        log=state / "services" / "worker.log",
        cwd=root,
        environment=environment,
    )


def _start_mlflow(root: Path, state: Path) -> str:
    address, running = state / "services" / "mlflow.url", processes.find(MLFLOW, records=state / "services")
    if running and address.exists():
        return address.read_text()
    if running:  # whoever started it died before it could say where
        processes.stop(running, records=state / "services")
    store = tracking.local_store(state)
    tracking.check_store(store)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes.start(
        MLFLOW,
        [_tool("mlflow"), "ui", "--backend-store-uri", store.tracking_uri, "--host", "127.0.0.1", "--port", str(port)],
        records=processes.private_folder(state / "services"),
        log=state / "services" / "mlflow.log",
        cwd=root,
        environment=processes.clean_environment(
            {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        ),
    )
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: _answers(url, state), what="The MLflow UI", timeout_seconds=START_SECONDS, wait=every(0.3))
    address.write_text(url)
    return url


def _answers(url: str, state: Path) -> bool | None:
    if processes.find(MLFLOW, records=state / "services") is None:
        log = state / "services" / "mlflow.log"
        raise PlatformUnavailable(f"The MLflow UI ended while starting: {last_line(log)}.", cure=f"See {log}.")
    try:
        return True if httpx.get(url, timeout=5).is_success else None
    except httpx.TransportError:
        return None


def _prefect(
    root: Path, environment: Mapping[str, str], *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [_tool("prefect"), "--no-prompt", *arguments],
        cwd=root,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if check and done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise PlatformUnavailable(f"prefect {' '.join(arguments[:2])} failed: {' '.join(last)}")
    return done


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)
