"""What a run left behind, as the metric, data and content services show it."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..blob import BlobStorage
from ..operations import timestamp
from ..wire import Refused, Response
from .calls import CONTENT, DATA, METRIC, Call, Operation
from .runs import Outcome, Run, Runs
from .work import BLOBS, Work

if TYPE_CHECKING:
    from ..cloud import Cloud

ASSETS = {"flow_outputs": "flow_outputs/", "debug_info": ""}


def asset_id(cloud: Cloud, run: Run, output: str) -> str:
    """The id of the data asset that an output of a run is."""
    workspace = cloud.arm.peek(run.workspace)
    assert workspace is not None
    place = f"azureml://locations/{cloud.region}/workspaces/{workspace.properties['workspaceId']}"
    return f"{place}/data/{_data_name(run, output)}/versions/1"


class Results:
    """Metrics, output assets and snapshots of runs."""

    def __init__(self, cloud: Cloud, runs: Runs, work: Work) -> None:
        self._cloud, self._runs, self._work = cloud, runs, work

    def operations(self) -> list[Operation]:
        """All of it."""
        return [
            Operation("POST", METRIC, "runs/{name}/lastvalues", "runs/lastvalues", self._metrics),
            Operation("POST", DATA, "dataversion/getByAssetId", "dataversion", self._asset),
            Operation("POST", CONTENT, "snapshots/sas", "snapshots", self._snapshot),
        ]

    async def _metrics(self, call: Call) -> Response:
        """The latest value of each metric: those that the flow logged, and the counts of lines and nodes."""
        run = self._runs.get(call.workspace, call.name)
        outcome = await self._runs.outcome(run)
        values = _all_metrics(outcome) if outcome else {}
        return Response(200, {"value": [_metric(run, name, value) for name, value in values.items()]})

    async def _asset(self, call: Call) -> Response:
        asked = str(call.body().get("value") or "")
        for run in self._runs.below(call.workspace):
            for output, path in ASSETS.items():
                if asset_id(self._cloud, run, output) == asked and await self._runs.outcome(run):
                    return Response(200, self._version(run, output, path))
        raise Refused(404, "NotFoundError", f"The asset {asked} was not found")

    def _version(self, run: Run, output: str, path: str) -> dict[str, Any]:
        scope = run.workspace.split("/")
        place = f"azureml://subscriptions/{scope[2]}/resourcegroups/{scope[4]}/workspaces/{scope[-1]}"
        version = {
            "assetId": asset_id(self._cloud, run, output),
            "dataContainerName": _data_name(run, output),
            "dataType": "UriFolder",
            "dataUri": f"{place}/datastores/workspaceblobstore/paths/{BLOBS}/{run.id}/{path}",
            "versionId": "1",
            "properties": {},
        }
        moment = timestamp(run.created)
        entity = {"etag": f'"{run.uuid}"', "createdTime": moment, "modifiedTime": moment}
        return {"dataVersion": version, "entityMetadata": entity}

    async def _snapshot(self, call: Call) -> Response:
        """The flow as it was submitted: a tree of addresses."""
        asked = str(call.body().get("snapshotOrAssetId") or "")
        run = next((each for each in self._runs.below(call.workspace) if each.uuid == asked), None)
        if run is None or await self._runs.outcome(run) is None:
            raise Refused(404, "NotFoundError", f"The snapshot {asked} was not found")
        container = self._work.container(call.workspace)
        base = f"https://{self._cloud.of(BlobStorage).host}/{container}/runs/{run.id}"
        return Response(200, _node(run.snapshot.parent, base, root=True))


def _data_name(run: Run, output: str) -> str:
    return f"azureml_{run.id}_output_data_{output}"


def _all_metrics(outcome: Outcome) -> dict[str, float]:
    counts = {f"__pf__.lines.{name}": count for name, count in outcome.counts.items()}
    logged = {name: value for name, value in outcome.metrics.items() if isinstance(value, int | float)}
    return {**logged, **counts, **{f"__pf__.nodes.{name}": count for name, count in outcome.nodes.items()}}


def _metric(run: Run, name: str, value: float) -> dict[str, Any]:
    number = value if math.isfinite(value) else str(value).replace("nan", "NaN").replace("inf", "Infinity")
    point = {"metricId": str(uuid.uuid4()), "createdUtc": timestamp(run.ends), "step": 0, "data": {name: number}}
    return {
        "dataContainerId": f"dcid.{run.id}",
        "name": name,
        "columns": {name: "Double"},
        "properties": {"uxMetricType": "azureml.v1.scalar"},
        "namespace": None,
        "standardSchemaId": None,
        "value": [point],
    }


def _node(path: Path, address: str, *, root: bool = False) -> Mapping[str, Any]:
    """A file or folder of a snapshot, whole."""
    inside = sorted(path.iterdir()) if path.is_dir() else []
    return {
        "name": "" if root else path.name,
        "hash": None,
        "type": "Directory" if path.is_dir() else "File",
        "timestamp": timestamp(0),
        "sasUrl": None,
        "absoluteUrl": None if path.is_dir() else address,
        "sizeBytes": 0 if path.is_dir() else path.stat().st_size,
        "sizeSet": path.is_file(),
        "children": {each.name: _node(each, f"{address}/{each.name}") for each in inside},
    }
