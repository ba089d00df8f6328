"""The tracking servers of workspaces: one process of MLflow's own, in which each workspace is apart from the others."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from .children import OUTSIDE, Child
from .containers import free_port
from .relay import Relay
from .wire import Request, Response

if TYPE_CHECKING:
    from .cloud import Cloud

START_SECONDS = 120.0
PLACE = re.compile(r"^/mlflow/v[12]\.0(?P<workspace>/subscriptions/.+?/workspaces/[^/]+)(?P<path>/.*)$", re.IGNORECASE)
SPOKEN = "/api/2.0/mlflow/"  # of what newer servers know, Azure's speaks this much
UNSEARCHABLE = re.compile(rb"attributes?\.status")  # in filters: what Azure's own documentation says it can't do
WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"
# Azure keeps artifacts under addresses of its own, which a client without its plugin can't write to.
ARTIFACTS = "azureml://artifacts"


class NotStarted(Exception):
    """The server ended, or did not answer in time; the text is its log."""


def install(cloud: Cloud) -> None:
    """Answer at the region's tracking host; the server starts when it is first needed."""
    tracking = Tracking(cloud)
    cloud.add(tracking)
    cloud.route(rf"{cloud.region}\.api\.azureml\.ms", tracking.handle, kind=_kind)
    cloud.at_stop(tracking.stop)


def _kind(request: Request) -> str:
    """The host is shared with other services."""
    return "tracking" if PLACE.match(request.path) else ""


class Tracking:
    """The tracking servers of all workspaces."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._folder = tempfile.TemporaryDirectory(prefix="mlflow-", ignore_cleanup_errors=True)
        self._child: Child | None = None
        self._url = ""
        self._starting = asyncio.Lock()
        self._known: dict[str, str] = {}

    def stop(self) -> None:
        """End the server; what it held is gone."""
        if self._child is not None:
            self._child.end()
        self._folder.cleanup()

    async def handle(self, request: Request) -> Response | None:
        """The server's answer; None for paths that are not MLflow's, and for workspaces that aren't there."""
        place = PLACE.match(request.path)
        if place is None or self._cloud.arm.peek(place["workspace"]) is None:
            return None
        if not place["path"].startswith(SPOKEN):
            return Response(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": f"{place['path']} is not known."})
        if place["path"].endswith("/runs/search") and UNSEARCHABLE.search(request.body):
            return Response(400, _user_error("Filtering runs by their status is not supported."))
        name = await self._ready(place["workspace"].lower())
        relay = self._cloud.of(Relay)
        return await relay.send(request, f"{self._url}{place['path']}", headers={WORKSPACE_HEADER: name})

    async def _ready(self, workspace: str) -> str:
        """The name of a workspace on the server, started and told of it."""
        async with self._starting:
            if not self._url:
                self._url = await self._start()
            if workspace not in self._known:
                name = f"workspace-{len(self._known)}"
                await self._create(name)
                self._known[workspace] = name
            return self._known[workspace]

    async def _start(self) -> str:
        folder, port = Path(self._folder.name), free_port()
        options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--enable-workspaces"]
        options += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        options += ["--no-serve-artifacts", "--default-artifact-root", ARTIFACTS]
        environment = {"PATH": OUTSIDE.get("PATH", os.defpath), "HOME": str(folder), "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, "-m", "mlflow", "server", *options]
        self._child = Child(command, log=folder / "server.log", environment=environment, cwd=folder)
        url = f"http://127.0.0.1:{port}"
        await self._healthy(self._child, url)
        return url

    async def _healthy(self, child: Child, url: str) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while await self._cloud.of(Relay).status(f"{url}/health", seconds=2) != 200:
            if child.code() is not None or asyncio.get_running_loop().time() > deadline:
                raise NotStarted(child.output()[-2000:])
            await asyncio.sleep(0.1)

    async def _create(self, name: str) -> None:
        async with (
            aiohttp.ClientSession(raise_for_status=True) as session,
            session.post(f"{self._url}/api/3.0/mlflow/workspaces", json={"name": name}),
        ):
            pass


def _user_error(message: str) -> dict[str, object]:
    """A refusal as Azure's data planes write it, without the code that MLflow's own server sends."""
    inner = {"code": "BadArgument", "innerError": None}
    return {"error": {"code": "UserError", "message": message, "innerError": inner}, "componentName": "mlflow"}
