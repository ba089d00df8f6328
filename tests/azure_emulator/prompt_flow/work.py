"""The work of a run: its files fetched, promptflow's engine started on them, and what it left behind put in storage."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import entra, storage_paths
from ..arm_ids import ArmId
from ..blob import BlobStorage
from ..children import OUTSIDE, Child
from ..runtimes import ROOT, Runtimes
from ..wire import Refused
from .refusals import root_error
from .runs import COMPLETED, FAILED, Outcome, Run

if TYPE_CHECKING:
    from ..cloud import Cloud

ENGINE = Path(__file__).with_name("engine.py")
LOCK = ROOT / "requirements" / "promptflow-azure.txt"
RUNTIMES = ROOT / ".sluice" / "test-runtimes"
RUN_SECONDS = 600.0  # real ones
AT_ONCE = 2
CONFIGURATION = "telemetry: {enabled: false}\ntrace: {destination: none}\n"
BLOBS = "promptflow/PromptFlowArtifacts"
QUIET = {"APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true", "PF_DISABLE_TRACING": "false", "LANG": "C.UTF-8"}


class Failure(Exception):
    """The run fails before the engine has a say."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.outcome = Outcome(FAILED, root_error(400, code, message))


class Work:
    """Does the work of runs, a few at once, each in a process of its own that ends with the cloud."""

    def __init__(self, cloud: Cloud, base: Callable[[Run], Run | None]) -> None:
        self._cloud, self._base = cloud, base
        self._folder = tempfile.TemporaryDirectory(prefix="runs-", ignore_cleanup_errors=True)
        self._runtimes = Runtimes(RUNTIMES)
        self._children: dict[str, Child] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)

    def stop(self) -> None:
        """End all of it."""
        for child in self._children.values():
            child.end()
        self._runtimes.stop()
        self._folder.cleanup()

    def new_folder(self) -> Path:
        """A folder for one run."""
        return Path(tempfile.mkdtemp(dir=self._folder.name))

    async def snapshot(self, workspace: str, order: Mapping[str, Any], folder: Path) -> Path:
        """Fetch a submitted flow; returns its definition below `folder`. Raises `Refused`."""
        uri = order.get("flowDefinitionDataUri") or _short(order)
        parent, _, name = uri.rpartition("/")
        found = await self._fetch(workspace, parent, folder)
        definition = found / name if found else None
        if definition is None or not definition.is_file():
            raise Refused(404, "FlowDefinitionNotFound", f"There is no flow at {uri or 'any given place'}.")
        return definition

    def begin(self, run: Run) -> None:
        """Start the work; the run's `work` is what comes of it."""
        run.work = asyncio.create_task(self._outcome(run), name=f"prompt flow run {run.id}")

    def end(self, run: Run) -> None:
        """End what is left of a run that was canceled."""
        if run.work:
            run.work.cancel()
        child = self._children.get(run.uuid)
        if child:
            child.end()

    def log(self, run: Run) -> str:
        """What it has printed so far."""
        child = self._children.get(run.uuid)
        return child.output() if child else ""

    async def _outcome(self, run: Run) -> Outcome:
        try:
            async with self._at_once:
                return await self._done(run)
        except Failure as failed:
            return failed.outcome

    async def _done(self, run: Run) -> Outcome:
        order = await self._order(run)
        file = run.folder / "order.json"
        file.write_text(json.dumps(order), encoding="utf-8")
        python = await self._runtimes.of(LOCK)
        home = run.folder / "home"
        home.mkdir()
        (home / "pf.yaml").write_text(CONFIGURATION, encoding="utf-8")
        command = [python, ENGINE, file]
        log, environment = run.folder / "run.log", self._environment(run, home)
        child = Child(command, log=log, environment=environment, cwd=Path(order["folder"]))
        self._children[run.uuid] = child
        await asyncio.to_thread(child.wait, RUN_SECONDS)
        return await self._result(run, Path(order["out"]))

    async def _order(self, run: Run) -> dict[str, Any]:
        scope, order = run.workspace.split("/"), run.order
        working = run.folder / "working"  # the engine may change what is in it
        shutil.copytree(run.snapshot.parent, working)
        return {
            "run": run.id,
            "folder": str(working),
            "file": run.snapshot.name,
            "out": str(run.folder / "out"),
            "workspace": {"subscription_id": scope[2], "resource_group_name": scope[4], "workspace_name": scope[-1]},
            "inputs": await self._inputs(run),
            "mapping": order.get("inputsMapping") or {},
            "variant": order.get("nodeVariant"),
            "connections": order.get("connections") or {},
            "environment": order.get("environmentVariables") or {},
            "init": order.get("initKWargs"),
        }

    async def _inputs(self, run: Run) -> dict[str, str]:
        """Paths of the data, and of the outputs and the data of the base run."""
        found: dict[str, str] = {}
        own, base = await self._data(run, run.folder), self._base(run)
        if own:
            found["data"] = own
        if base:
            assert base.work is not None
            await base.work
            found["run.outputs"] = str(base.folder / "out" / "flow_outputs")
            given = await self._data(base, run.folder / "base")
            found |= {"run.inputs": given} if given else {}
        if not found:
            raise Failure("BadArgument", "The run has neither data nor a run to take it from.")
        return found

    async def _data(self, run: Run, folder: Path) -> str | None:
        uri = (run.order.get("batchDataInput") or {}).get("dataUri")
        if not uri:
            return None
        found = await self._fetch(run.workspace, uri, folder / "data")
        if found is None:
            raise Failure("DataNotFound", f"There is no data at {uri}.")
        return str(found)

    async def _fetch(self, workspace: str, uri: str, folder: Path) -> Path | None:
        """Copy a file or folder out of storage; None if nothing is there."""
        asset = ArmId.parse(workspace)
        place = storage_paths.find(self._cloud, uri, asset) if asset else None
        if place is None:
            return None
        await self._cloud.of(BlobStorage).download(place.container, place.path, folder)
        target = folder / Path(place.path).name
        return target if target.exists() else None

    def _environment(self, run: Run, home: Path) -> dict[str, str]:
        path = {"PATH": OUTSIDE.get("PATH", os.defpath), "HOME": str(home), "PF_HOME_DIRECTORY": str(home)}
        return {
            **path,
            **QUIET,
            **self._cloud.environment(),
            **entra.msi_environment(self._cloud, run.machine.identity),
        }

    async def _result(self, run: Run, out: Path) -> Outcome:
        file = out / "outcome.json"
        if not file.exists():
            last = " ".join(self.log(run).split())[-300:]
            raise Failure("ExecutionFailed", f"The process of the run ended before it was done: {last}")
        said = json.loads(file.read_text(encoding="utf-8"))
        for name in ("flow_outputs", "flow_artifacts"):
            (out / name).mkdir(exist_ok=True)
        await self._store(run, out)
        known = {name: said[name] for name in ("error", "counts", "nodes", "metrics", "tokens") if said.get(name)}
        return Outcome(COMPLETED if said["status"] == COMPLETED else FAILED, lines=tuple(said["lines"]), **known)

    async def _store(self, run: Run, out: Path) -> None:
        storage, container = self._cloud.of(BlobStorage), self.container(run.workspace)
        for name in ("flow_outputs", "flow_artifacts"):
            await storage.upload(container, out / name, f"{BLOBS}/{run.id}/{name}")
        await storage.upload(container, run.snapshot.parent, f"runs/{run.id}")

    def container(self, workspace: str) -> str:
        """The container of the workspace's default datastore."""
        store = self._cloud.arm.peek(f"{workspace}/datastores/workspaceblobstore")
        assert store is not None
        return str(store.properties["containerName"])


def _short(order: Mapping[str, Any]) -> str:
    store, path = order.get("flowDefinitionDataStoreName"), order.get("flowDefinitionBlobPath")
    return f"azureml://datastores/{store}/paths/{path}" if store and path else ""
