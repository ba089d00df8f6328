"""Online deployments on Azure: created at 0 % from what is registered, adopted if they serve the same, else refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from azure_emulator import Cloud
from azure_emulator.faults import OperationFails, Reset, Status
from azure_emulator.identities import granted
from release_project import ENDPOINT, ReleaseProject

from orchestration.errors import (
    ConfigurationError,
    PlatformConflict,
    PlatformError,
    PlatformUnavailable,
    ResourceNotFound,
    ResourceRefused,
)
from orchestration.platforms.azure.roles import CONNECTION_READER
from orchestration.platforms.base import Endpoint, Found, OnlineDeployment
from orchestration.values import ModelVersion

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("blobs")]
KIND = OnlineDeployment.kind


@pytest.fixture
def model(project: ReleaseProject) -> ModelVersion:
    """The registered candidate, with the endpoint ready for it."""
    project.ready_endpoint()
    return project.register()


def created(project: ReleaseProject, wanted: OnlineDeployment) -> Found:
    """How it stands when its time is up."""
    project.platform.create(wanted)
    project.cloud.clock.sleep(3000)
    return seen(project, wanted)


def seen(project: ReleaseProject, wanted: OnlineDeployment) -> Found:
    found = project.platform.get(KIND, wanted.name, endpoint=ENDPOINT)
    assert found is not None
    return found


def puts(project: ReleaseProject, wanted: OnlineDeployment) -> int:
    return project.writes.count(f"PUT onlineEndpoints/{ENDPOINT}/deployments/{wanted.name}")


def test_it_is_created_at_0_percent_and_answers_only_whoever_names_it(
    project: ReleaseProject, model: ModelVersion, capfd: pytest.CaptureFixture[str]
) -> None:
    wanted, platform = project.deployment(model), project.platform
    capfd.readouterr()
    platform.create(wanted)
    assert seen(project, wanted).state == "Creating"
    project.cloud.clock.sleep(3000)
    found = seen(project, wanted)
    assert found.state == "Succeeded"
    assert {
        "content": model.content_hash,
        "binding": "b" * 64,
        "variant": "none",
        "decision": "d" * 64,
    }.items() <= found.tags.items()
    assert "runtime" not in found.tags
    answer = platform.invoke(ENDPOINT, {"question": "you"}, deployment=wanted.name)
    assert (answer.status, answer.body, answer.deployment) == (200, {"answer": "hello you"}, wanted.name)
    assert platform.invoke(ENDPOINT, {"question": "you"}).status == 404  # nobody has traffic
    assert not [each for each in project.cloud.exchanges if "OperationsStatus" in each.url]
    assert capfd.readouterr().out == ""  # the SDK's pollers would print dots


def test_one_that_serves_the_same_is_adopted_with_its_new_tags(project: ReleaseProject, model: ModelVersion) -> None:
    wanted = project.deployment(model)
    project.platform.create(wanted)
    project.platform.create(wanted)  # while it is being created
    project.cloud.clock.sleep(3000)
    project.platform.create(wanted)
    assert puts(project, wanted) == 1
    project.platform.create(project.deployment(model, decision="e" * 64))
    project.cloud.clock.sleep(1000)
    assert seen(project, wanted).tags["decision"] == "e" * 64
    assert project.writes[-1] == f"PATCH onlineEndpoints/{ENDPOINT}/deployments/{wanted.name}"
    assert project.platform.invoke(ENDPOINT, {"question": "you"}, deployment=wanted.name).status == 200


@pytest.mark.parametrize("change", ["content", "binding", "variant"])
def test_one_that_serves_something_else_is_refused(project: ReleaseProject, model: ModelVersion, change: str) -> None:
    wanted = project.deployment(model)
    created(project, wanted)
    before = len(project.writes)
    changed = {
        "content": replace(wanted, model=replace(model, content_hash="9" * 64)),
        "binding": replace(wanted, binding=replace(wanted.binding, binding_hash="9" * 64)),
        "variant": replace(wanted, variant="${answer.variant_1}"),
    }[change]
    with pytest.raises(ResourceRefused, match="serves something else"):
        project.platform.create(changed)
    assert len(project.writes) == before


def test_one_that_is_not_ours_is_left_alone(project: ReleaseProject, model: ModelVersion) -> None:
    wanted = project.deployment(model)
    created(project, wanted)
    resource = project.cloud.arm.peek(f"{project.workspace.id}/onlineEndpoints/{ENDPOINT}/deployments/{wanted.name}")
    assert resource is not None
    resource.body["tags"] = {"team": "others"}
    before = len(project.writes)
    for attempt in (
        lambda: project.platform.create(wanted),
        lambda: project.platform.delete(KIND, wanted.name, endpoint=ENDPOINT),
        lambda: project.platform.tag(KIND, wanted.name, {"a": "b"}, endpoint=ENDPOINT),
    ):
        with pytest.raises(ResourceRefused, match="carries no tag 'sluice'"):
            attempt()
    assert len(project.writes) == before
    assert project.platform.owned(KIND) == []


def test_nothing_is_written_for_what_cannot_be(project: ReleaseProject, model: ModelVersion) -> None:
    wanted, before = project.deployment(model), len(project.writes)
    with pytest.raises(ConfigurationError, match="is not valid"):
        project.platform.create(replace(wanted, name="not_valid"))
    with pytest.raises(ResourceNotFound, match="There is no endpoint echo-prod"):
        project.platform.create(replace(wanted, endpoint="echo-prod"))
    with pytest.raises(ResourceNotFound, match="is not registered"):
        project.platform.create(replace(wanted, model=replace(model, content_hash="9" * 64, version="9" * 16)))
    elsewhere = replace(wanted, model=replace(model, content_hash=model.content_hash[:16] + "9" * 48))
    with pytest.raises(PlatformError, match="is not on this machine"):
        project.platform.render(elsewhere)
    assert len(project.writes) == before


def test_a_wrong_key_in_the_users_file_stops_it_before_anything_is_written(project: ReleaseProject) -> None:
    folder = project.root / "deployments" / "echo"
    folder.mkdir(parents=True)
    (folder / "deployment.yaml").write_text("instance_typ: Standard_DS3_v2\n")
    project.candidate = project.take()
    project.ready_endpoint()
    model = project.register()
    before = len(project.writes)
    with pytest.raises(ConfigurationError, match=r"deployments/echo/deployment.yaml:1:instance_typ"):
        project.platform.create(project.deployment(model))
    assert len(project.writes) == before


def test_while_the_endpoint_is_changed_it_has_to_wait(project: ReleaseProject, model: ModelVersion) -> None:
    first, second = project.deployment(model), project.deployment(model, binding="c" * 64)
    created(project, first)
    project.platform.set_traffic(ENDPOINT, {first.name: 100}, generation=0)
    with pytest.raises(PlatformConflict, match="endpoint echo-dev is Updating"):
        project.platform.create(second)
    assert puts(project, second) == 0
    project.cloud.clock.sleep(100)
    project.cloud.scenario.fault(
        "PUT",
        "deployments",
        Status(409, "Conflict", "Cannot create a deployment: it is in Updating provisioning state."),
    )
    with pytest.raises(PlatformConflict, match="Updating provisioning state"):  # read a moment too early
        project.platform.create(second)
    assert created(project, second).state == "Succeeded"


@pytest.mark.parametrize(
    ("code", "message", "cure"),
    [
        ("", "ResourceNotReady: User container has crashed or terminated.", "the reason is in its log"),
        ("ImageBuildFailure", "The image could not be built.", "azureml/ImageLogs/"),
        ("", "OutOfQuota: Not enough CPU quota.", "az ml compute list-usage"),
        ("BadArgument", "The model could not be downloaded.", "AcrPull and Storage Blob Data Reader"),
        ("InternalServerError", "Something broke.", "Run the same command again."),
    ],
)
def test_a_failed_one_says_why_and_what_to_do(
    project: ReleaseProject, model: ModelVersion, code: str, message: str, cure: str
) -> None:
    project.cloud.scenario.fault("PUT", "deployments", OperationFails(code, message))
    found = created(project, project.deployment(model))
    assert found.state == "Failed"
    assert message.rstrip(".").partition(": ")[2] in found.message
    assert cure in found.message
    assert found.message.count("\n") == 0


def test_a_failed_one_is_made_anew(project: ReleaseProject, model: ModelVersion) -> None:
    wanted = project.deployment(model)
    project.cloud.scenario.fault("PUT", "deployments", OperationFails("InternalServerError", "Something broke."))
    assert created(project, wanted).state == "Failed"
    busy = Status(409, "Conflict", "Another operation is under way.")
    project.cloud.scenario.fault("PUT", "deployments", busy)
    with pytest.raises(PlatformConflict, match="Another operation"):
        project.platform.create(wanted)
    assert created(project, wanted).state == "Succeeded"
    assert puts(project, wanted) == 3


def test_the_logs_of_both_containers_of_a_flow_that_cannot_be_opened(project: ReleaseProject) -> None:
    project.candidate = project.take(**{"answer.py": "raise RuntimeError('this flow is broken')\n"})
    project.ready_endpoint()
    wanted = project.deployment(project.register())
    assert created(project, wanted).state == "Failed"
    logs = project.platform.logs(KIND, wanted.name, endpoint=ENDPOINT, lines=100)
    assert "--- storage-initializer\n" in logs
    assert "--- inference-server\n" in logs
    assert "this flow is broken" in logs


def test_logs_hold_no_secret_that_we_know(project: ReleaseProject) -> None:
    show = "import os\nprint('made-up-secret', 'the-connection-key', 'https://x/y?sig=abcdef&sp=r')\n"
    body = "def answer(question: str) -> str:\n    return question\n"
    project.candidate = project.take(**{"answer.py": show + body})
    project.configure(connections="connections:\n  aoai: {kind: workspace, name: team-aoai}\n")
    connection(project.cloud, project.workspace.id, "team-aoai", "the-connection-key")
    project.ready_endpoint()
    wanted = project.deployment(project.register())
    assert created(project, wanted).state == "Succeeded"
    key = project.cloud.arm.peek(f"{project.workspace.id}/onlineEndpoints/{ENDPOINT}").data["keys"]["primaryKey"]  # type: ignore[union-attr]
    project.platform.invoke(ENDPOINT, {"question": key}, deployment=wanted.name)
    logs = project.platform.logs(KIND, wanted.name, endpoint=ENDPOINT)
    for secret in ("made-up-secret", "the-connection-key", "abcdef", key):
        assert secret not in logs
    assert logs.count("[redacted]") >= 3


def test_logs_that_cannot_be_read_don_t_hide_the_failure(project: ReleaseProject, model: ModelVersion) -> None:
    assert project.platform.logs(KIND, "absent", endpoint=ENDPOINT) == ""
    project.cloud.scenario.fault("POST", "getLogs", Status(403, "AuthorizationFailed", "No."), times=2)
    wanted = project.deployment(model)
    created(project, wanted)
    assert "AuthorizationFailed: No." in project.platform.logs(KIND, wanted.name, endpoint=ENDPOINT)


@pytest.mark.parametrize("times", [1, 4])
def test_a_lost_answer_is_settled_by_looking(project: ReleaseProject, model: ModelVersion, times: int) -> None:
    project.cloud.scenario.fault("PUT", "deployments", Reset(after_commit=True), times=times)
    wanted = project.deployment(model)
    assert created(project, wanted).state == "Succeeded"


def test_a_write_that_never_arrived_is_unavailable(project: ReleaseProject, model: ModelVersion) -> None:
    project.cloud.scenario.fault("PUT", "deployments", Reset(), times=4)
    with pytest.raises(PlatformUnavailable, match="create the online deployment"):
        project.platform.create(project.deployment(model))


def test_a_size_that_azure_does_not_have_is_no_crash(project: ReleaseProject) -> None:
    folder = project.root / "deployments" / "echo"
    folder.mkdir(parents=True)
    (folder / "deployment.yaml").write_text("instance_type: Huge\n")
    project.candidate = project.take()
    project.ready_endpoint()
    with pytest.raises(PlatformError, match="The instance type 'Huge' is not supported"):
        project.platform.create(project.deployment(project.register()))


def test_removal_waits_for_the_traffic_to_be_moved(project: ReleaseProject, model: ModelVersion) -> None:
    wanted, platform = project.deployment(model), project.platform
    created(project, wanted)
    platform.set_traffic(ENDPOINT, {wanted.name: 100}, generation=0)
    project.cloud.clock.sleep(100)
    before = len(project.writes)
    with pytest.raises(PlatformConflict, match="has 100 % of the traffic"):
        platform.delete(KIND, wanted.name, endpoint=ENDPOINT)
    assert len(project.writes) == before
    platform.set_traffic(ENDPOINT, {}, generation=1)
    project.cloud.clock.sleep(100)
    project.cloud.scenario.fault("DELETE", "deployments", Reset(after_commit=True), times=4)
    platform.delete(KIND, wanted.name, endpoint=ENDPOINT)
    assert seen(project, wanted).state == "Deleting"
    platform.delete(KIND, wanted.name, endpoint=ENDPOINT)
    with pytest.raises(PlatformConflict, match="is being deleted"):
        platform.create(wanted)
    project.cloud.clock.sleep(1000)
    assert platform.get(KIND, wanted.name, endpoint=ENDPOINT) is None
    platform.delete(KIND, wanted.name, endpoint=ENDPOINT)
    platform.delete(KIND, wanted.name, endpoint="never-was")
    assert platform.owned(KIND, endpoint="never-was") == []


def test_the_endpoint_takes_its_deployments_and_roles_with_it(project: ReleaseProject, model: ModelVersion) -> None:
    wanted, platform = project.deployment(model), project.platform
    created(project, wanted)
    (access,) = platform.access(ENDPOINT)
    platform.create(access)
    project.cloud.clock.sleep(1000)
    assert granted(project.cloud, access.principal_id, CONNECTION_READER, project.workspace.id)
    assert [each.name for each in platform.owned(KIND)] == [wanted.name]
    platform.delete(Endpoint.kind, ENDPOINT)
    project.cloud.clock.sleep(1000)
    assert platform.get(Endpoint.kind, ENDPOINT) is None
    assert platform.get(KIND, wanted.name, endpoint=ENDPOINT) is None
    assert not granted(project.cloud, access.principal_id, CONNECTION_READER, project.workspace.id)


def connection(cloud: Cloud, workspace: str, name: str, key: str) -> None:
    properties = {"category": "AzureOpenAI", "target": "https://team.openai.azure.com", "authType": "ApiKey"}
    path = f"{workspace}/connections/{name}"
    cloud.arm.seed(path, {"properties": properties}, data={"credentials": {"key": key}})
