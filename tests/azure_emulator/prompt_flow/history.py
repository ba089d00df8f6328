"""Run history, and the index over it: how clients learn of a run's state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..faults import StaleRead
from ..operations import timestamp
from ..wire import Response
from .calls import HISTORY, INDEX, Call, Operation
from .refusals import Wording
from .results import asset_id
from .runs import BEFORE, COMPLETED, FAILED, FINAL, NOT_STARTED, PREPARING, Run, Runs, absent
from .sessions import AUTOMATIC

if TYPE_CHECKING:
    from ..cloud import Cloud

TYPE = "azureml.promptflow.FlowRun"
PREFIX = "azureml.promptflow."


class History:
    """The records of runs."""

    def __init__(self, cloud: Cloud, runs: Runs) -> None:
        self._cloud, self._runs, self._wording = cloud, runs, Wording(cloud.region)

    def operations(self) -> list[Operation]:
        """All of it."""
        return [
            Operation("POST", HISTORY, "rundata", "rundata", self._data),
            Operation("PATCH", HISTORY, "runs/{name}/modify", "runs/modify", self._modify),
            Operation("POST", INDEX, "entities", "entities", self._entities),
        ]

    async def _data(self, call: Call) -> Response:
        asked = call.body()
        run = self._runs.get(call.workspace, str(asked.get("runId") or ""))
        status = await self._runs.status(run)
        if isinstance(call.request.fault, StaleRead):
            if status not in BEFORE:
                raise absent(run.id)
            status = BEFORE[status]
        record = await self._record(run, status)
        definition = json.dumps({"FlowRunSettings": {"SessionId": run.order.get("sessionId")}})
        return Response(200, {"runMetadata": record, "runDefinition": definition, "jobSpecification": None})

    async def _modify(self, call: Call) -> Response:
        """Change what people may say of a run; tags are added to those that it has."""
        run, asked = self._runs.get(call.workspace, call.name), call.body()
        run.display_name = str(asked.get("displayName") or run.display_name)
        run.description = str(asked.get("description") or run.description)
        run.tags |= asked.get("tags") or {}
        run.hidden = bool(asked.get("hidden", run.hidden))
        return Response(200, await self._record(run, await self._runs.status(run)))

    async def _record(self, run: Run, status: str) -> dict[str, Any]:
        outcome = await self._runs.outcome(run)
        error = dict(outcome.error) if outcome and outcome.error and status == FAILED else None
        return {
            "runNumber": 1,
            "rootRunId": run.id,
            "createdUtc": timestamp(run.created),
            "createdBy": self._user(run),
            "userId": run.by.object_id,
            "error": self._error(error) if error else None,
            "warnings": None,
            "revision": 1,
            "runUuid": run.uuid,
            "rootRunUuid": run.uuid,
            "duration": None,
            "runId": run.id,
            "experimentId": run.uuid,
            "status": status,
            **_times(run, status),
            "displayName": run.display_name,
            "name": run.display_name,
            "dataContainerId": f"dcid.{run.id}",
            "description": run.description,
            "hidden": run.hidden,
            "runType": TYPE,
            "runTypeV2": {"orchestrator": None, "traits": [], "attribution": "PromptFlow", "computeType": None},
            "properties": self._properties(run, outcome.tokens if outcome else {}),
            "parameters": {},
            "actionUris": {},
            "target": run.machine.compute or None,
            "tags": dict(run.tags),
            "settings": {},
            "services": {},
            "inputs": {},
            "outputs": self._outputs(run) if status == COMPLETED else {},
        }

    def _error(self, error: Mapping[str, Any]) -> dict[str, Any]:
        """The error of a run, with the properties that its description has."""
        envelope = self._wording.body(400, "", "")
        known = {name: error.get(name) for name in envelope["error"] if name in error and name != "debugInfo"}
        told = {name: envelope[name] for name in ("correlation", "environment", "location", "time", "componentName")}
        return {"error": known, **told}

    def _user(self, run: Run) -> dict[str, Any]:
        tenant = self._cloud.directory.tenant
        return {"userObjectId": run.by.object_id, "userTenantId": tenant, "userName": run.by.client_id}

    def _properties(self, run: Run, tokens: Mapping[str, Any]) -> dict[str, str]:
        order = run.order
        told = {
            "runtime_name": order.get("runtimeName") or AUTOMATIC,
            "definition_file_name": run.snapshot.name,
            "flow_lineage_id": order.get("flowLineageId"),
            "flow_definition_datastore_name": order.get("flowDefinitionDataStoreName"),
            "flow_definition_blob_path": order.get("flowDefinitionBlobPath"),
            "snapshot_id": run.uuid,
            "session_id": order.get("sessionId"),
            "input_data": (order.get("batchDataInput") or {}).get("dataUri"),
            "input_run_id": run.base,
            "inputs_mapping": json.dumps(order.get("inputsMapping") or {}),
            "node_variant": order.get("nodeVariant"),
            "total_tokens": str(tokens["total_tokens"]) if "total_tokens" in tokens else None,
        }
        ours = {f"{PREFIX}{name}": value for name, value in told.items() if value}
        return {**(order.get("properties") or {}), **ours, "_azureml.evaluation_run": "promptflow.BatchRun"}

    def _outputs(self, run: Run) -> dict[str, Any]:
        named = ("flow_outputs", "debug_info")
        return {name: {"assetId": asset_id(self._cloud, run, name), "type": "UriFolder"} for name in named}

    async def _entities(self, call: Call) -> Response:
        """Runs, the newest first, of those that the filters leave."""
        asked = call.body()
        wanted = {each["field"]: each["values"] for each in asked.get("filters") or []}
        found = [each for each in self._runs.below(call.workspace) if _wanted(each, wanted)]
        first = int(asked.get("skip") or 0)
        page = found[first : first + int(asked.get("pageSize") or 50)]
        entities = [await self._entity(each) for each in page]
        return Response(200, {"totalCount": len(found), "value": entities, "nextSkip": first + len(page)})

    async def _entity(self, run: Run) -> dict[str, Any]:
        record = await self._record(run, await self._runs.status(run))
        annotations = {
            "archived": run.hidden,
            "tags": record["tags"],
            "displayName": run.display_name,
            "status": record["status"],
            "description": run.description,
            "metrics": {},
        }
        context = {"createdTime": record["createdUtc"], "createdBy": record["createdBy"]}
        properties = {
            "runId": run.id,
            "runType": TYPE,
            "experimentName": str(run.order.get("runExperimentName") or run.snapshot.parent.name),
            "startTime": record["startTimeUtc"],
            "endTime": record["endTimeUtc"],
            "duration": None,
            "userProperties": record["properties"],
            "creationContext": context,
        }
        return {"type": "runs", "kind": "Versioned", "annotations": annotations, "properties": properties}


def _times(run: Run, status: str) -> dict[str, str | None]:
    started = status not in (NOT_STARTED, PREPARING)
    ended = min(run.ends, run.canceled) if status in FINAL else None
    return {
        "startTimeUtc": timestamp(run.machine.ready) if started else None,
        "endTimeUtc": timestamp(ended) if ended is not None else None,
    }


def _wanted(run: Run, filters: Mapping[str, list[str]]) -> bool:
    archived = filters.get("annotations/archived", ["true", "false"])
    ids, types = filters.get("properties/runId", [run.id]), filters.get("properties/runType", [TYPE])
    return str(run.hidden).lower() in archived and run.id in ids and TYPE in types
