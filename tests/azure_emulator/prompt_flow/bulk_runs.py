"""BulkRuns: submitting runs, their lines and logs, and canceling them."""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..faults import OperationFails, OperationNeverEnds
from ..operations import timestamp
from ..wire import Refused, Response
from .calls import FLOW, Call, Operation, closed
from .refusals import root_error
from .runs import COMPLETED, FAILED, FINAL, Outcome, Run, Runs
from .sessions import AUTOMATIC, Sessions
from .work import Work

if TYPE_CHECKING:
    from ..cloud import Cloud

NEW = {
    "baselineRunId",
    "batchDataInput",
    "collieRunSettings",
    "computeName",
    "connections",
    "description",
    "disableTrace",
    "enableMultiContainer",
    "environmentVariables",
    "experimentNodeName",
    "flowArtifactsRootPath",
    "flowDefinitionBlobPath",
    "flowDefinitionDataStoreName",
    "flowDefinitionDataUri",
    "flowDefinitionFilePath",
    "flowDefinitionResourceId",
    "flowLineageId",
    "flowRunDisplayName",
    "identity",
    "initKWargs",
    "inputsMapping",
    "logFileRelativePath",
    "maxIdleTimeSeconds",
    "nodeVariant",
    "outputDataStore",
    "promptflowEngineType",
    "properties",
    "runDisplayName",
    "runDisplayNameGenerationType",
    "runExperimentName",
    "runId",
    "runtimeName",
    "sessionConfigMode",
    "sessionId",
    "sessionSetupMode",
    "tags",
    "timeoutInSeconds",
    "variantRunId",
    "vmSize",
    "workerCount",
}
LAST = 10**9  # where no one says so
_ID = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}$")


class BulkRuns:
    """What the flow service does for batch runs.

    A fault `OperationFails` of `POST bulkRuns/submit` makes the run fail, `OperationNeverEnds` keeps it running.
    """

    def __init__(self, cloud: Cloud, runs: Runs, sessions: Sessions, work: Work) -> None:
        self._cloud, self._runs, self._sessions, self._work = cloud, runs, sessions, work

    def operations(self) -> list[Operation]:
        """All of it."""
        one, kind = "BulkRuns/{name}", "bulkRuns"
        return [
            Operation("POST", FLOW, "BulkRuns/submit", f"{kind}/submit", self._submit),
            Operation("GET", FLOW, one, kind, self._get),
            Operation("GET", FLOW, f"{one}/childRuns", f"{kind}/childRuns", self._children),
            Operation("GET", FLOW, f"{one}/logContent", f"{kind}/logContent", self._log),
            Operation("POST", FLOW, f"{one}/cancel", f"{kind}/cancel", self._cancel),
        ]

    async def _submit(self, call: Call) -> Response:
        """Accept a run; the same again is the same run."""
        order = {name: value for name, value in call.body().items() if value is not None}
        closed(order, NEW)
        id_ = str(order.get("runId") or uuid.uuid4())
        if not _ID.match(id_):
            raise Refused(400, "BadArgument", f"The run id {id_} is not valid.")
        known = self._runs.find(call.workspace, id_)
        if known is None:
            await self._accept(call, id_, order)
        elif known.order != order:
            raise Refused(409, "RunAlreadyExists", f"Another run of the id {id_} exists already.")
        return Response(200, id_)

    async def _accept(self, call: Call, id_: str, order: Mapping[str, Any]) -> None:
        await self._check_base(call.workspace, str(order.get("variantRunId") or ""))
        machine, folder = await self._sessions.machine(call, order), self._work.new_folder()
        snapshot = await self._work.snapshot(call.workspace, order, folder)
        takes = self._cloud.scenario.duration("POST", "bulkRuns/submit")
        token, fault = self._cloud.directory.token_of(call.request.headers), call.request.fault
        assert token is not None, "the cloud lets nobody in without one"
        ends = math.inf if isinstance(fault, OperationNeverEnds) else machine.ready + takes
        now = self._cloud.clock.now()
        run = Run(id_, call.workspace, order, token.principal, machine, snapshot, folder, now, ends)
        run.display_name = str(order.get("runDisplayName") or id_)
        run.description, run.tags = str(order.get("description") or ""), dict(order.get("tags") or {})
        if isinstance(fault, OperationFails):
            run.forced = Outcome(FAILED, root_error(500, fault.code, fault.message))
        elif self._runs.find(call.workspace, id_):
            return  # the same came twice, and this one waited longer
        else:
            self._work.begin(run)
        self._runs.add(run)

    async def _check_base(self, workspace: str, base: str) -> None:
        if not base:
            return
        status = await self._runs.status(self._runs.get(workspace, base))
        if status != COMPLETED:
            raise Refused(400, "VariantRunNotCompleted", f"The run {base} is not completed, but {status}.")

    async def _get(self, call: Call) -> Response:
        run = self._runs.get(call.workspace, call.name)
        location = f"azureml://locations/{self._cloud.region}/workspaces/{self._guid(call)}"
        studio = f"https://ml.azure.com/runs/{run.id}?wsid={run.workspace}"
        shown = {
            "flowName": str(run.order.get("runExperimentName") or run.snapshot.parent.name),
            "flowRunResourceId": f"{location}/flows/{run.snapshot.parent.name}/flowRuns/{run.id}",
            "flowRunId": run.id,
            "flowRunDisplayName": run.display_name,
            "batchDataInput": run.order.get("batchDataInput") or {},
            "flowRunType": "FlowRun",
            "flowType": "Default",
            "runtimeName": run.order.get("runtimeName") or AUTOMATIC,
            "inputsMapping": run.order.get("inputsMapping") or {},
            "outputDatastoreName": "workspaceblobstore",
            "childRunBasePath": f"promptflow/PromptFlowArtifacts/{run.id}/flow_artifacts",
            "flowDagFileRelativePath": run.snapshot.name,
            "flowSnapshotId": run.uuid,
            "sessionId": run.order.get("sessionId"),
            "createdOn": timestamp(run.created),
            "studioPortalEndpoint": studio,
            "studioPortalTraceEndpoint": studio,
        }
        return Response(200, shown)

    def _guid(self, call: Call) -> str:
        workspace = self._cloud.arm.peek(call.workspace)
        assert workspace is not None
        return str(workspace.properties["workspaceId"])

    async def _children(self, call: Call) -> Response:
        """The records of lines from `startIndex` to `endIndex`, the last included."""
        outcome = await self._runs.outcome(self._runs.get(call.workspace, call.name))
        query = call.request.query
        first = int(query.get("index") or query.get("startIndex") or 0)
        last = int(query.get("index") or query.get("endIndex") or LAST)
        lines = outcome.lines if outcome else ()
        return Response(200, [each for each in lines if first <= each["index"] <= last])

    async def _log(self, call: Call) -> Response:
        run = self._runs.get(call.workspace, call.name)
        return Response(200, self._work.log(run) if self._runs.begun(run) else "")

    async def _cancel(self, call: Call) -> Response:
        """Ask for the end of a run; one that has ended stays as it is."""
        run = self._runs.get(call.workspace, call.name)
        if await self._runs.status(run) not in FINAL:
            run.canceled = min(run.canceled, self._cloud.clock.now())
            self._work.end(run)
        return Response(200, json.dumps({"status": await self._runs.status(run)}))
