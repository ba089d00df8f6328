"""`sluice doctor` of an environment on Azure: each finding by itself, with its cure; nothing is changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from azure_emulator import Cloud
from azure_emulator.faults import Status
from azure_emulator.limits import Limits
from azure_emulator.machine_learning import types
from azure_emulator.models import Models
from release_project import OWNER, ReleaseProject
from spec_check import findings

from orchestration.cli.main import main
from orchestration.platforms.azure import connections
from orchestration.platforms.azure.inspection import missing_actions
from orchestration.settings import load_settings
from orchestration.steps.doctor import Check, Level
from orchestration.steps.doctor_azure import azure

HOST = "team.openai.azure.com"
CONNECTIONS = "connections:\n  aoai: {kind: workspace, name: team-aoai, model_deployment: gpt-4o-mini}\n"
# As Azure itself defines them.
SCIENTIST = {
    "actions": [f"{types.WORKSPACE}/*/{verb}" for verb in ("read", "action", "delete", "write")],
    "notActions": [
        f"{types.WORKSPACE}/{each}"
        for each in (
            "delete",
            "write",
            "computes/*/write",
            "computes/*/delete",
            "computes/listKeys/action",
            "listKeys/action",
        )
    ],
}
READER = {"actions": ["*/read"], "notActions": []}


@pytest.fixture
def ready(project: ReleaseProject) -> ReleaseProject:
    """A project whose environment lacks nothing."""
    project.configure(connections=CONNECTIONS)
    create(project)
    return project


def create(project: ReleaseProject) -> None:
    connections.create(project.settings, "team-aoai", kind="azure_openai", base_url=f"https://{HOST}", key="canary-key")


def roles(project: ReleaseProject, *permissions: dict) -> None:
    """What whoever signs in may do."""
    limits = project.cloud.of(Limits)
    limits.permissions[project.application.principal.object_id] = list(permissions)


def checks(project: ReleaseProject) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for each in azure(project.settings):
        found.setdefault(each.name, []).append(each)
    return found


def only(found: dict[str, list[Check]], name: str) -> Check:
    [one] = found[name]
    return one


def levels(found: dict[str, list[Check]], *but: str) -> set[Level]:
    return {each.level for name, some in found.items() if name not in but for each in some}


def test_an_environment_that_lacks_nothing(ready: ReleaseProject) -> None:
    before = ready.writes
    found = checks(ready)
    assert levels(found) == {Level.OK}
    assert set(found) == {"image", "sign-in", "workspace", "roles", "quota", "endpoint", "connection", "model"}
    assert ready.application.principal.object_id in only(found, "sign-in").message
    assert "by client_secret" in only(found, "sign-in").message
    assert f"in {ready.cloud.region}" in only(found, "workspace").message
    assert only(found, "quota").message == "echo: 24 of 24 cores are free, 1 x Standard_DS3_v2 needs 8"
    assert only(found, "connection").message == f"aoai: team-aoai in the workspace, {HOST}"
    assert only(found, "model").message.startswith("aoai: gpt-4o-mini (sluice-keyword-baseline) answered in ")
    assert ready.writes == before
    assert "canary" not in str(found)


def test_what_is_asked_is_what_azure_publishes(ready: ReleaseProject, tmp_path: Path) -> None:
    checks(ready)
    assert findings(ready.cloud, tmp_path) == []


def test_the_command_lists_them_with_all_the_others(ready: ReleaseProject, monkeypatch, capfd) -> None:
    monkeypatch.chdir(ready.root)
    monkeypatch.setenv("PREFECT_HOME", str(ready.root / "home"))
    code = main(["doctor", "-e", "dev", "--json"])
    names = {each["name"]: each["level"] for each in json.loads(capfd.readouterr().out)["checks"]}
    assert code == 0, names
    assert {"python", "config", "flow echo", "sign-in", "workspace", "quota", "model", "retirement"} <= set(names)


def test_without_a_sign_in_what_stands_in_files_is_checked_all_the_same(ready: ReleaseProject) -> None:
    (ready.root / "secret.txt").write_text("another")
    ready.configure("image: mcr.microsoft.com/azureml/promptflow/promptflow-runtime:1\n", connections=CONNECTIONS)
    found = checks(ready)
    signed = only(found, "sign-in")
    assert (signed.level, signed.configuration) == (Level.FAIL, True)
    assert "AADSTS7000215" in signed.message
    assert "azure.credential.client_secret" in signed.cure
    assert only(found, "endpoint").level is Level.OK
    assert only(found, "image").level is Level.WARN
    assert (only(found, "workspace").level, set(found)) == (Level.WARN, {"image", "sign-in", "endpoint", "workspace"})


def test_a_role_that_is_missing_is_named_with_the_command_that_gives_it(ready: ReleaseProject) -> None:
    roles(ready, READER)
    found = checks(ready)
    assert levels(found, "roles") == {Level.OK}
    said = [each.message for each in found["roles"]]
    assert [text.partition(":")[0] for text in said] == [
        "may not evaluate",
        "may not record decisions",
        "may not register",
        "may not deploy",
        "may not let endpoints read connections",
    ]
    assert f"{types.WORKSPACE}/connections/listsecrets/action" in said[0]
    assert f"{types.WORKSPACE}/read" not in said[0].split(", ")
    for each, role in zip(found["roles"], ["AzureML Data Scientist"] * 4 + ["Role Based Access Control"], strict=True):
        assert f"--role '{role}" in each.cure
        assert ready.application.principal.object_id in each.cure
        assert ready.workspace.id.lower() in each.cure.lower()


def test_azures_own_role_is_enough_but_for_granting(ready: ReleaseProject) -> None:
    roles(ready, SCIENTIST)
    refused = only(checks(ready), "roles")
    assert refused.message.startswith(
        "may not let endpoints read connections: Microsoft.Authorization/roleAssignments/"
    )
    assert "azure.grant_access: false" in refused.cure
    ready.configure("grant_access: false\n", connections=CONNECTIONS)
    assert only(checks(ready), "roles").level is Level.OK


def test_two_roles_together_allow_what_one_of_them_leaves_out(ready: ReleaseProject) -> None:
    action = f"{types.WORKSPACE}/write"
    roles(ready, SCIENTIST)
    assert missing_actions(ready.session, [action, f"{types.WORKSPACE}/read"]) == [action]
    roles(ready, SCIENTIST, {"actions": [f"{types.WORKSPACE.upper()}/WRITE"], "notActions": []})
    assert missing_actions(ready.session, [action]) == []


def test_an_environment_that_only_evaluates_needs_less(ready: ReleaseProject) -> None:
    only_evaluation = [
        f"{types.WORKSPACE}/{each}" for each in ("read", "connections/*", "experiments/*", "datastores/*")
    ]
    roles(ready, {"actions": only_evaluation, "notActions": []})
    ready.configure(connections=f"{CONNECTIONS}evaluate_only: true\n")
    found = checks(ready)
    assert only(found, "roles").message == "may evaluate, record decisions"
    assert levels(found) == {Level.OK}
    assert "quota" not in found


@pytest.mark.parametrize(
    ("cores", "part", "level", "left"), [(8, None, "OK", 8), (7, None, "FAIL", 7), (24, 4, "FAIL", 4)]
)
def test_green_must_fit_beside_blue(ready: ReleaseProject, cores: int, part: int | None, level: str, left: int) -> None:
    limits = ready.cloud.of(Limits)
    limits.cores["standardDSv2Family"] = cores
    if part is not None:
        limits.workspace_cores[ready.workspace.id, "standardDSv2Family"] = part
    found = checks(ready)
    quota = only(found, "quota")
    assert (quota.level, f"echo: {left} of " in quota.message) == (Level(level), True)
    assert levels(found, "quota") == {Level.OK}
    if level == "FAIL":
        assert "Standard DSv2 Family Cluster Dedicated vCPUs" in quota.cure
        assert "deployments/echo/deployment.yaml" in quota.cure


def test_what_serves_already_uses_its_part_of_the_quota(ready: ReleaseProject) -> None:
    place = f"{ready.workspace.id}/onlineEndpoints/other/deployments/blue"
    ready.cloud.arm.seed(place.rpartition("/deployments/")[0], {"tags": {}, "properties": {}})
    ready.cloud.arm.seed(place, {"sku": {"capacity": 5}, "properties": {"instanceType": "Standard_DS3_v2"}})
    assert only(checks(ready), "quota").message.startswith("echo: 4 of 24 cores are free")


def test_a_size_that_azure_does_not_list(ready: ReleaseProject) -> None:
    folder = ready.root / "deployments" / "echo"
    folder.mkdir(parents=True)
    (folder / "deployment.yaml").write_text("instance_type: Standard_Made_Up\n")
    quota = only(checks(ready), "quota")
    assert (quota.level, "Standard_Made_Up" in quota.message) == (Level.WARN, True)


def test_a_workspace_that_is_not_there(ready: ReleaseProject) -> None:
    text = (ready.root / "config" / "dev.yaml").read_text()
    (ready.root / "config" / "dev.yaml").write_text(text.replace("workspace: studio", "workspace: studia"))
    ready.settings = load_settings(ready.root, "dev")
    found = checks(ready)
    workspace = only(found, "workspace")
    assert (workspace.level, workspace.configuration) == (Level.FAIL, True)
    assert "azure.workspace" in workspace.cure
    assert only(found, "sign-in").level is Level.OK
    assert {each.level for each in found["endpoint"]} == {Level.FAIL}


def test_a_connection_that_the_workspace_lacks(project: ReleaseProject) -> None:
    project.configure(connections=CONNECTIONS)
    found = checks(project)
    assert levels(found, "connection", "model") == {Level.OK}
    connection = only(found, "connection")
    assert (connection.level, "team-aoai" in connection.message, bool(connection.cure)) == (Level.FAIL, True, True)


def test_a_connection_that_a_deployment_could_not_use(project: ReleaseProject) -> None:
    project.configure(connections="connections: {aoai: {kind: offline}}\n")
    found = checks(project)
    assert "can't use a connection of kind offline" in only(found, "connection").message
    assert only(found, "connection").cure == "Next: sluice connections create aoai -e dev"


@pytest.mark.parametrize("change", ["model", "key"])
def test_a_model_that_does_not_answer(ready: ReleaseProject, change: str) -> None:
    models = ready.cloud.of(Models)
    if change == "model":
        models.deployments[HOST] = {"another"}
    else:
        models.keys[HOST] = {"rotated"}
    found = checks(ready)
    model = only(found, "model")
    assert (model.level, bool(model.cure)) == (Level.FAIL, True)
    assert ("404" if change == "model" else "401") in model.message
    assert levels(found, "model") == {Level.OK}


@pytest.mark.parametrize(
    ("tags", "said"),
    [({}, "belongs to somebody else"), ({**OWNER, "prompt_flow": "other"}, "belongs to other in dev"), (OWNER, "")],
)
def test_an_endpoint_of_that_name(ready: ReleaseProject, tags: dict[str, str], said: str) -> None:
    place = f"{ready.workspace.id}/onlineEndpoints/echo-dev"
    properties = {"authMode": "Key", "provisioningState": "Succeeded", "traffic": {}}
    ready.cloud.arm.seed(place, {"tags": tags, "location": ready.cloud.region, "properties": properties})
    endpoint = only(checks(ready), "endpoint")
    assert (endpoint.level, said in endpoint.message) == (Level.FAIL if said else Level.OK, True)
    assert ("endpoint.name" in endpoint.cure) == bool(said)


def test_a_service_that_is_down_spoils_only_its_own_line(ready: ReleaseProject, cloud: Cloud) -> None:
    cloud.scenario.fault("LIST", "usages", Status(503, "ServiceUnavailable", "Try later."), times=4)
    found = checks(ready)
    assert (only(found, "quota").level, only(found, "quota").configuration) == (Level.FAIL, False)
    assert levels(found, "quota") == {Level.OK}
