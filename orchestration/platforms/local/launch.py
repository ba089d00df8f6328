"""Starts gateways, finds them again, and ends them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import filelock

from orchestration import processes
from orchestration.errors import PlatformError, PlatformUnavailable, SluiceError
from orchestration.platforms.local.admin_client import ask, restore
from orchestration.platforms.local.folder import EndpointFolder, endpoint_folders
from orchestration.platforms.local.limits import Limits
from orchestration.polling import REAL, Clock, every, wait_until
from orchestration.processes import Daemon, clean_environment

NAME = "gateway"
START_SECONDS = 60.0
MODULE = "orchestration.platforms.local.gateway"


def live_gateway(folder: EndpointFolder) -> Daemon | None:
    """The endpoint's gateway, if it runs."""
    return processes.find(NAME, records=folder.path)


@contextlib.contextmanager
def starting(folder: EndpointFolder) -> Iterator[None]:
    """Only one process at a time makes the endpoint's folder or starts its gateway; also for changes on disk."""
    with filelock.FileLock(folder.side_file("start"), mode=0o600, thread_local=False):
        yield


def ensure_gateway(folder: EndpointFolder, *, port: int = 0, limits: Limits | None = None, clock: Clock = REAL) -> None:
    """Start the endpoint's gateway unless it runs; returns when it answers. Call it inside `starting`.

    Raises `ConfigurationError` if the given port is taken, `PlatformError` with what it printed if it can't start.
    """
    daemon = live_gateway(folder) or _start(folder, port, limits or Limits())
    wait_until(
        lambda: _answers(folder, daemon),
        what=f"The gateway of the endpoint {folder.name}",
        timeout_seconds=START_SECONDS,
        wait=every(0.02),
        clock=clock,
    )


def _start(folder: EndpointFolder, port: int, limits: Limits) -> Daemon:
    folder.printed.unlink(missing_ok=True)
    options = ["--folder", str(folder.path), "--port", str(port), "--limits", json.dumps(asdict(limits))]
    return processes.start(
        NAME,
        [sys.executable, "-P", "-m", MODULE, *options],
        records=folder.path,
        log=folder.printed,
        cwd=folder.path,
        # Its model proxies call the user's providers; to the servers a proxy's password is not passed on.
        environment=clean_environment({"PYTHONPATH": str(_source_root())}, web=True),
    )


def _source_root() -> Path:
    # The very code that runs here, installed or not.
    return Path(__file__).resolve().parents[3]


def _answers(folder: EndpointFolder, daemon: Daemon) -> dict[str, Any] | None:
    endpoint = folder.load()
    if endpoint is not None and endpoint.socket:
        try:
            answer: dict[str, Any] = ask(endpoint.socket, "GET", "/")
        except PlatformUnavailable:
            pass
        else:
            return answer
    if not processes.alive(daemon):
        raise _failure(folder)
    return None


def _failure(folder: EndpointFolder) -> SluiceError:
    printed = folder.printed.read_text(errors="replace").strip() if folder.printed.exists() else ""
    last = printed.splitlines()[-1] if printed else "it printed nothing"
    try:
        return restore(json.loads(last))
    except (ValueError, TypeError, KeyError):
        what = f"The gateway of the endpoint {folder.name} ended at its start: {last}"
        return PlatformError(what, cure=f"See {folder.log}.")


def stop_gateway(folder: EndpointFolder, *, limits: Limits | None = None) -> bool:
    """End the endpoint's gateway and its servers: first politely, then by force; False if it did not run.

    Also one whose endpoint can't be read any more, or whose folder was removed.
    """
    daemon = live_gateway(folder)
    if daemon is None:
        return False
    patience = (limits or Limits()).drain_seconds * 2 + (limits or Limits()).end_seconds
    processes.stop(daemon, records=folder.path, grace_seconds=patience)
    return True


def stop_all(state: Path, *, limits: Limits | None = None, names: Collection[str] | None = None) -> list[str]:
    """End every gateway below the state folder (or of those named), all at once; the names of those that ran."""
    known = {folder.name: folder for folder in endpoint_folders(state)}
    stray = {place.name: EndpointFolder(place) for place, _ in processes.left(state / "endpoints")}
    folders = [folder for name, folder in sorted({**stray, **known}.items()) if names is None or name in names]
    with ThreadPoolExecutor(max_workers=max(1, len(folders))) as pool:
        stopped = list(pool.map(lambda folder: stop_gateway(folder, limits=limits), folders))
    return [folder.name for folder, ran in zip(folders, stopped, strict=True) if ran]
