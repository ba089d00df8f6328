"""Batch runs of the emulated prompt flow service: their states by the clock, and what really running them gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
import spec_check
from azure_emulator import Cloud
from azure_emulator.faults import OperationFails, OperationNeverEnds, Reset, StaleRead, Status
from azure_emulator.prompt_flow import Runs, State
from prompt_flow_calls import INSTANCE, ROOT, Calls

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("blobs"), pytest.mark.timeout(240)]
SESSION, RUN = 180.0, 60.0


@pytest.fixture
def calls(cloud: Cloud) -> Calls:
    return Calls(cloud)


def test_a_run_goes_through_its_states_by_the_clock(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    calls.submit(calls.order(tmp_path, [1, -2, 3], runDisplayName="Doubling", tags={"sluice": "1"}))
    assert (calls.run_status(), calls.lines(), calls.metrics()) == ("NotStarted", [], {})
    cloud.clock.sleep(SESSION)
    assert calls.run_status() == "Preparing"
    assert calls.body("GET", "BulkRuns/run1/logContent") == ""
    cloud.clock.sleep(10)
    assert calls.run_status() == "Running"
    cloud.clock.sleep(RUN - 10)
    record = calls.ended()
    assert (record["status"], record["displayName"], record["tags"]) == ("Completed", "Doubling", {"sluice": "1"})
    assert record["error"] is None
    assert [(each["index"], each["status"]) for each in calls.lines()] == [
        (0, "Completed"),
        (1, "Failed"),
        (2, "Completed"),
    ]
    assert [each["output"] for each in calls.lines()] == [{"m": 2}, None, {"m": 6}]
    assert "-2 is negative" in calls.lines()[1]["error"]["message"]
    assert [each["index"] for each in calls.lines(query="startIndex=1&endIndex=1")] == [1]
    assert calls.metrics() == {
        "sum": 8.0,
        "__pf__.lines.completed": 2,
        "__pf__.lines.failed": 1,
        "__pf__.nodes.double.completed": 2,
        "__pf__.nodes.double.failed": 1,
        "__pf__.nodes.add.completed": 1,
    }
    assert "-2 is negative" in calls.body("GET", "BulkRuns/run1/logContent")


def test_a_run_whose_every_line_failed_is_completed(calls: Calls, tmp_path: Path) -> None:
    calls.submit(calls.order(tmp_path, [-1, -2]))
    assert calls.ended()["status"] == "Completed"
    assert {each["status"] for each in calls.lines()} == {"Failed"}
    counts = calls.metrics()
    assert (counts["__pf__.lines.failed"], counts["__pf__.lines.completed"]) == (2, 0)


def test_an_evaluation_takes_the_outputs_of_its_base_run_by_line_number(calls: Calls, tmp_path: Path) -> None:
    order = calls.order(tmp_path, [1, -2, 3])
    calls.submit(order, "base")
    graded = {**order, "variantRunId": "base", "inputsMapping": {"n": "${run.outputs.m}"}}
    refused = {**graded, "runId": "early"}
    assert calls.code("POST", "BulkRuns/submit", refused) == (400, "VariantRunNotCompleted")
    assert calls.code("POST", "BulkRuns/submit", {**graded, "variantRunId": "none"}) == (404, "NotFoundError")
    assert calls.ended("base")["status"] == "Completed"
    calls.submit(graded, "graded")
    assert calls.ended("graded")["properties"]["azureml.promptflow.input_run_id"] == "base"
    assert [(each["index"], each["output"]) for each in calls.lines("graded")] == [(0, {"m": 4}), (2, {"m": 12})]
    inputs = {**graded, "inputsMapping": {"n": "${run.inputs.n}"}}
    calls.submit({name: value for name, value in inputs.items() if name != "batchDataInput"}, "again")
    assert calls.ended("again")["status"] == "Completed"
    assert [each["status"] for each in calls.lines("again")] == ["Completed", "Completed"]


WRONG = {
    "unmapped": ({"inputsMapping": {"n": "${data.number}"}}, "${data.number}"),
    "no-data": ({"batchDataInput": {"dataUri": f"{ROOT}/no.jsonl"}}, "no data at"),
    "no-input": ({"batchDataInput": {}}, "neither data nor a run"),
    "ends": ({"files": {"double.py": "import os\nos._exit(3)\n"}}, "ended before it was done"),
    "unknown-connection": ({"environmentVariables": {"FACTOR": "${nobody.factor}"}}, "connections/nobody"),
}


def test_what_is_wrong_with_a_run_fails_it(calls: Calls, tmp_path: Path) -> None:
    for name, (more, _) in WRONG.items():
        calls.submit(calls.order(tmp_path, **more), name)
    for name, (_, said) in WRONG.items():
        record = calls.ended(name)
        assert (record["status"], calls.lines(name), calls.metrics(name)) == ("Failed", [], {}), name
        assert said in record["error"]["error"]["message"]
    assert "InputMappingError" in str(calls.record("unmapped")["error"])


def test_variables_of_the_order_reach_the_flow(calls: Calls, tmp_path: Path) -> None:
    calls.submit(calls.order(tmp_path, [5], environmentVariables={"FACTOR": "10"}))
    assert calls.ended()["status"] == "Completed"
    assert [each["output"] for each in calls.lines()] == [{"m": 50}]


VARIANTS = """
    inputs: {n: {type: int}}
    outputs: {m: {type: int, reference: "${double.output}"}}
    nodes:
    - {name: double, use_variants: true}
    node_variants:
      double:
        default_variant_id: plain
        variants:
          plain: {node: {type: python, source: {type: code, path: double.py}, inputs: {n: "${inputs.n}"}}}
          fixed: {node: {type: python, source: {type: code, path: double.py}, inputs: {n: 21}}}
    """


def test_a_variant_is_run_in_place_of_the_default(calls: Calls, tmp_path: Path) -> None:
    order = calls.order(tmp_path, [5], files={"flow.dag.yaml": VARIANTS})
    calls.submit(order, "plain")
    calls.submit({**order, "nodeVariant": "${double.fixed}"}, "fixed")
    calls.submit({**order, "nodeVariant": "${double.lost}"}, "lost")
    assert [calls.ended(each)["status"] for each in ("plain", "fixed", "lost")] == ["Completed", "Completed", "Failed"]
    assert [calls.lines(each)[0]["output"] for each in ("plain", "fixed")] == [{"m": 10}, {"m": 42}]


def test_the_flow_is_run_as_it_was_when_it_was_submitted(calls: Calls, tmp_path: Path) -> None:
    order = calls.order(tmp_path)
    calls.submit(order)
    calls.put("double", {"double.py": "raise SystemExit"}, tmp_path)
    assert calls.ended()["status"] == "Completed"


def test_submitting_again_is_the_same_run(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    order = calls.order(tmp_path)
    cloud.scenario.fault("POST", "bulkRuns/submit", Reset(after_commit=True))
    with pytest.raises(requests.ConnectionError):
        calls.submit(order)
    created = calls.record()["createdUtc"]
    cloud.clock.sleep(5)
    calls.submit(order)
    assert calls.record()["createdUtc"] == created
    other = {**order, "runId": "run1", "description": "another"}
    assert calls.code("POST", "BulkRuns/submit", other) == (409, "RunAlreadyExists")


def test_bad_orders_are_refused(calls: Calls, tmp_path: Path) -> None:
    order = calls.order(tmp_path)
    for more, expected in (
        ({"resources": {}}, (400, "BadArgument")),
        ({"runId": "no spaces"}, (400, "BadArgument")),
        ({"runtimeName": "none"}, (404, "RuntimeNotFound")),
        ({"computeName": "none"}, (404, "ComputeInstanceNotFound")),
        ({"flowDefinitionDataUri": f"{order['flowDefinitionDataUri']}.no"}, (404, "FlowDefinitionNotFound")),
        ({"flowDefinitionDataUri": ""}, (404, "FlowDefinitionNotFound")),
    ):
        assert calls.code("POST", "BulkRuns/submit", {**order, **more}) == expected
    assert calls.code("GET", "BulkRuns/none") == (404, "NotFoundError")
    asked = {"runId": "none"}
    assert calls.code("POST", "rundata", asked, service="history/v1.0") == (404, "NotFoundError")


def test_a_canceled_run_ends_as_canceled(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    cloud.of(Runs).patience = 0.1
    calls.submit(calls.order(tmp_path, files={"double.py": "import time\ntime.sleep(1000)\n"}))
    cloud.clock.sleep(SESSION + RUN)
    assert calls.run_status() == "Running"
    assert "CancelRequested" in calls.body("POST", "BulkRuns/run1/cancel")
    assert calls.run_status() == "CancelRequested"
    cloud.clock.sleep(10)
    assert calls.run_status() == "Canceled"
    assert (calls.lines(), calls.metrics()) == ([], {})
    assert calls.body("POST", "BulkRuns/run1/cancel")
    assert calls.run_status() == "Canceled"


def test_scripted_ends(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    order = calls.order(tmp_path)
    cloud.scenario.fault("POST", "bulkRuns/submit", OperationFails("SessionFailed", "The node was preempted."))
    cloud.scenario.fault("POST", "bulkRuns/submit", OperationNeverEnds())
    calls.submit(order, "failing")
    calls.submit(order, "endless")
    cloud.clock.sleep(1e6)
    failed = calls.record("failing")
    assert failed["status"] == "Failed"
    assert failed["error"]["error"]["message"] == "The node was preempted."
    assert failed["error"]["error"]["innerError"]["code"] == "SessionFailed"
    assert calls.run_status("endless") == "Running"


def test_a_stale_read_and_faults_of_the_history(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    calls.submit(calls.order(tmp_path))
    asked = {"runId": "run1"}
    cloud.scenario.fault("POST", "rundata", StaleRead())
    assert calls.code("POST", "rundata", asked, service="history/v1.0") == (404, "NotFoundError")
    assert calls.ended()["status"] == "Completed"
    cloud.scenario.fault("POST", "rundata", StaleRead())
    stale = calls.record()
    assert (stale["status"], stale["endTimeUtc"], stale["outputs"]) == ("Running", None, {})
    cloud.scenario.fault("POST", "rundata", Status(503, "ServiceUnavailable", "Later."))
    assert calls.code("POST", "rundata", asked, service="history/v1.0") == (503, "ServiceUnavailable")
    cloud.scenario.fault("GET", "childRuns", Status(500, "InternalServerError", "Oh."))
    assert calls.code("GET", "BulkRuns/run1/childRuns") == (500, "InternalServerError")
    assert len(calls.lines()) == 3


def test_a_run_on_a_runtime_starts_at_once_if_that_is_ready(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    calls.runtimes.seed(calls.workspace.id, "ours", "ci1")
    calls.submit(calls.order(tmp_path, runtimeName="ours"))
    assert calls.run_status() == "Preparing"
    record = calls.ended()
    assert (record["status"], record["target"]) == ("Completed", "ci1")
    assert record["properties"]["azureml.promptflow.runtime_name"] == "ours"
    calls.runtimes.plays("ours", State("Unavailable", 60, "It restarts."), State())
    late = {**calls.order(tmp_path, runtimeName="ours"), "runId": "late"}
    answer = calls.send("POST", "BulkRuns/submit", late)
    assert (answer.status_code, "It restarts." in answer.text) == (400, True)


def test_a_run_does_not_survive_its_compute_instance(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    calls.submit(calls.order(tmp_path, computeName="ci1"))
    assert calls.run_status() == "NotStarted"
    address = f"https://management.azure.com{calls.computes}/ci1?api-version=2023-08-01-preview"
    removal = requests.delete(f"{address}&underlyingResourceAction=Delete", headers=calls.headers, timeout=10)
    assert removal.ok
    cloud.clock.sleep(100)
    record = calls.record()
    assert (record["status"], calls.lines()) == ("Failed", [])
    assert "ci1 was deleted" in record["error"]["error"]["message"]


def test_sessions_are_started_once_and_used_again(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    order = calls.order(tmp_path, sessionId="s1", vmSize="Standard_DS3_v2")
    calls.submit(order, "first")
    calls.submit(order, "second")
    shown = calls.body("GET", "FlowSessions/s1")["properties"]
    assert (shown["sessionId"], shown["vmSize"]) == ("s1", "Standard_DS3_v2")
    cloud.clock.sleep(SESSION)
    calls.submit(order, "third")
    assert [calls.run_status(each) for each in ("first", "second", "third")] == ["Preparing"] * 3
    calls.body("DELETE", "FlowSessions/s1")
    assert calls.code("GET", "FlowSessions/s1") == (404, "SessionNotFound")
    calls.submit(order, "fourth")
    assert calls.run_status("fourth") == "NotStarted"
    cloud.clock.sleep(100_000)
    assert calls.code("DELETE", "FlowSessions/s1") == (404, "SessionNotFound")
    begun = calls.send("POST", "FlowSessions/s2", {"computeName": "ci1", "action": "Install"})
    assert begun.status_code == 202
    poll = begun.headers["Azure-AsyncOperation"].partition(f"{calls.workspace.id}/")[2]
    assert calls.body("GET", poll) == {"status": "InProgress"}
    cloud.clock.sleep(SESSION)
    assert calls.body("GET", poll) == {"status": "Succeeded"}


def test_the_identity_of_the_compute_instance_reads_connections_if_it_may(
    calls: Calls, cloud: Cloud, tmp_path: Path
) -> None:
    arm, group = "https://management.azure.com", calls.workspace.id.partition("/providers/")[0]
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"

    def put(path: str, version: str, body: object) -> dict:
        answer = requests.put(f"{arm}{path}?api-version={version}", json=body, headers=calls.headers, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    made = put(identity, "2023-01-31", {"location": "westeurope"})
    cloud.arm.seed(f"{calls.computes}/ci2", {**INSTANCE, "identity": {"userAssignedIdentities": {identity: {}}}})
    secret = {"category": "CustomKeys", "authType": "CustomKeys", "target": "-", "credentials": {"keys": {"f": "7"}}}
    put(f"{calls.workspace.id}/connections/mine", "2024-04-01", {"properties": secret})
    order = calls.order(tmp_path, [1], computeName="ci2", environmentVariables={"FACTOR": "${mine.f}"})
    calls.submit(order, "early")
    early = calls.ended("early")
    assert (early["status"], "RBAC" in early["error"]["error"]["message"]) == ("Failed", True)
    role = "/providers/Microsoft.Authorization/roleDefinitions/f6c7c914-8db3-469d-8ca1-694a8f32e121"
    granted = {"principalId": made["properties"]["principalId"], "roleDefinitionId": role}
    path = f"{calls.workspace.id}/providers/Microsoft.Authorization/roleAssignments/{'1' * 8}-1111-1111-1111-{'1' * 12}"
    put(path, "2022-04-01", {"properties": {**granted, "principalType": "ServicePrincipal"}})
    cloud.clock.sleep(1000)
    calls.submit(order, "late")
    assert calls.ended("late")["status"] == "Completed"
    assert [each["output"] for each in calls.lines("late")] == [{"m": 7}]


def test_the_exchanges_fit_the_published_descriptions(calls: Calls, cloud: Cloud, tmp_path: Path) -> None:
    calls.submit(calls.order(tmp_path, [1, -2]))
    calls.ended()
    calls.lines()
    calls.metrics()
    calls.body("GET", "BulkRuns/run1")
    calls.body("GET", "TraceSessions")
    calls.body("PATCH", "runs/run1/modify", {"description": "ours"}, service="history/v1.0")
    assert calls.record()["description"] == "ours"
    calls.submit(calls.order(tmp_path, inputsMapping={"n": "${data.x}"}), "failed")
    calls.ended("failed")
    calls.submit(calls.order(tmp_path), "canceled")
    calls.body("POST", "BulkRuns/canceled/cancel")
    calls.ended("canceled")
    calls.code("POST", "BulkRuns/submit", {"runtimeName": "none"})
    calls.send("POST", "FlowSessions/s2", {"computeName": "ci1", "action": "Install"})
    calls.body("GET", "FlowSessions/s2")
    calls.body("DELETE", "FlowSessions/s2")
    assert spec_check.findings(cloud, tmp_path) == []
