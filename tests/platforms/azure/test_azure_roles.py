"""What the endpoint's identity may do: assigned once under a name that never varies, taken back with the endpoint."""

from __future__ import annotations

import uuid

import pytest
from azure_emulator.entra import IDENTITY_TYPE
from azure_emulator.faults import Reset, Status
from azure_emulator.identities import ASSIGNMENT_TYPE, granted, principal_not_found
from release_project import ENDPOINT, ReleaseProject

from orchestration.errors import ConfigurationError, PlatformConflict, PlatformUnavailable, ResourceRefused
from orchestration.platforms.azure.platform import ROLE
from orchestration.platforms.azure.roles import BLOB_READER, CONNECTION_READER, IMAGE_READER
from orchestration.platforms.base import Endpoint, RoleAssignment
from orchestration.polling import Clock, wait_until


def assign(project: ReleaseProject, wanted: RoleAssignment) -> None:
    """As a step does: again after every conflict, for as long as the platform's patience lasts."""
    patience = project.platform.patience(ROLE)

    def tried() -> bool | None:
        try:
            project.platform.create(wanted)
        except PlatformConflict:
            return None
        return True

    clock = Clock(project.cloud.clock.now, project.cloud.clock.sleep)
    wait_until(tried, what=wanted.kind, timeout_seconds=patience.timeout_seconds, wait=patience.wait, clock=clock)


def user_assigned(project: ReleaseProject) -> str:
    """A user-assigned identity; returns its path."""
    group = project.workspace.id.partition("/providers/")[0]
    path = f"{group}/providers/{IDENTITY_TYPE}/endpoints"
    principal = project.cloud.directory.principal("endpoints")
    ids = {"principalId": principal.object_id, "clientId": principal.client_id, "tenantId": str(uuid.uuid4())}
    project.cloud.arm.seed(path, {"location": "westeurope", "properties": ids})
    return path


def puts(project: ReleaseProject) -> int:
    return sum("roleAssignments" in each for each in project.writes)


def test_an_endpoint_of_its_own_identity_needs_to_read_connections_and_nothing_else(project: ReleaseProject) -> None:
    project.ready_endpoint()
    (wanted,) = project.platform.access(ENDPOINT)
    assert (wanted.scope, wanted.role_id, wanted.endpoint) == (project.workspace.id, CONNECTION_READER, ENDPOINT)
    assert project.platform.get(ROLE, wanted.name, endpoint=ENDPOINT) is None
    project.platform.create(wanted)
    found = project.platform.get(ROLE, wanted.name, endpoint=ENDPOINT)
    assert found is not None
    assert found.state == "Succeeded"
    assert [each.name for each in project.platform.owned(ROLE)] == [wanted.name]
    project.cloud.clock.sleep(1000)
    assert granted(project.cloud, wanted.principal_id, CONNECTION_READER, project.workspace.id)


def test_assigning_it_again_writes_nothing(project: ReleaseProject) -> None:
    project.ready_endpoint()
    for _ in range(3):
        (wanted,) = project.platform.access(ENDPOINT)
        project.platform.create(wanted)
    assert puts(project) == 1


def test_the_same_right_under_another_name_is_as_good_and_stays(project: ReleaseProject) -> None:
    project.ready_endpoint()
    (wanted,) = project.platform.access(ENDPOINT)
    role = f"/subscriptions/x/providers/Microsoft.Authorization/roleDefinitions/{CONNECTION_READER}"
    by_hand = f"{project.workspace.id}/providers/{ASSIGNMENT_TYPE}/{uuid.uuid4()}"
    properties = {"principalId": wanted.principal_id, "roleDefinitionId": role, "scope": project.workspace.id}
    project.cloud.arm.seed(by_hand, {"properties": properties})
    project.platform.create(wanted)
    assert puts(project) == 0
    assert project.platform.get(ROLE, wanted.name, endpoint=ENDPOINT) is not None
    project.platform.delete(ROLE, wanted.name, endpoint=ENDPOINT)
    assert project.cloud.see(by_hand) is not None


def test_one_that_somebody_made_meanwhile_is_no_error(project: ReleaseProject) -> None:
    project.ready_endpoint()
    (wanted,) = project.platform.access(ENDPOINT)
    exists = Status(409, "RoleAssignmentExists", "The role assignment already exists.")
    project.cloud.scenario.fault("PUT", "roleAssignments", exists)
    project.platform.create(wanted)


def test_a_new_principal_that_azure_does_not_know_yet_is_waited_for(project: ReleaseProject) -> None:
    project.ready_endpoint()
    (wanted,) = project.platform.access(ENDPOINT)
    unknown = principal_not_found(wanted.principal_id, project.cloud.directory.tenant)
    project.cloud.scenario.fault("PUT", "roleAssignments", Status(400, unknown.code, unknown.message), times=12)
    with pytest.raises(PlatformConflict, match=r"PrincipalNotFound: Principal .* does not exist in the directory"):
        project.platform.create(wanted)
    assign(project, wanted)
    assert project.cloud.clock.now() > 100
    assert project.platform.get(ROLE, wanted.name, endpoint=ENDPOINT) is not None


def test_an_endpoint_without_a_principal_has_to_wait(project: ReleaseProject) -> None:
    project.ready_endpoint()
    resource = project.cloud.arm.peek(f"{project.workspace.id}/onlineEndpoints/{ENDPOINT}")
    assert resource is not None
    resource.body["identity"].pop("principalId")
    with pytest.raises(PlatformConflict, match="identity of the endpoint echo-dev is not there yet"):
        project.platform.access(ENDPOINT)


def test_without_the_right_to_assign_roles_the_message_names_the_way(project: ReleaseProject) -> None:
    project.ready_endpoint()
    (wanted,) = project.platform.access(ENDPOINT)
    refused = Status(403, "AuthorizationFailed", "The client 'x' may not perform roleAssignments/write.")
    project.cloud.scenario.fault("PUT", "roleAssignments", refused)
    with pytest.raises(ConfigurationError, match=r"roleAssignments/write.*docs/azure-setup\.md"):
        project.platform.create(wanted)


def test_an_administrator_may_do_it_instead(project: ReleaseProject) -> None:
    project.configure("grant_access: false")
    project.ready_endpoint()
    assert project.platform.access(ENDPOINT) == ()
    project.platform.delete("endpoint", ENDPOINT)
    assert puts(project) == 0


def test_a_user_assigned_identity_needs_image_and_model_too(project: ReleaseProject) -> None:
    identity = user_assigned(project)
    registry = (
        f"{project.workspace.id.partition('/providers/')[0]}/providers/Microsoft.ContainerRegistry/registries/team"
    )
    workspace = project.cloud.arm.peek(project.workspace.id)
    assert workspace is not None
    workspace.properties["containerRegistry"] = registry
    project.configure(f"endpoint_identity: {identity}")
    project.ready_endpoint()
    needed = {each.role_id: each for each in project.platform.access(ENDPOINT)}
    storage = workspace.properties["storageAccount"]
    assert {role: each.scope for role, each in needed.items()} == {
        CONNECTION_READER: project.workspace.id,
        IMAGE_READER: registry,
        BLOB_READER: storage,
    }
    principal = project.cloud.arm.peek(identity).properties["principalId"]  # type: ignore[union-attr]
    for each in needed.values():
        project.platform.create(each)
        assert each.principal_id == principal
        assert project.platform.get(ROLE, each.name, endpoint=ENDPOINT) is not None
    assert len(project.platform.owned(ROLE, endpoint=ENDPOINT)) == 3
    project.platform.create(project.endpoint("echo-2"))
    project.cloud.clock.sleep(1000)
    project.platform.delete(Endpoint.kind, "echo-2")  # the identity still serves the other endpoint
    project.cloud.clock.sleep(1000)
    assert len(project.platform.owned(ROLE, endpoint=ENDPOINT)) == 3
    assert not [each for each in project.writes if each.startswith("DELETE providers")]


def test_a_name_that_gives_somebody_else_something_is_refused(project: ReleaseProject) -> None:
    project.ready_endpoint()
    (wanted,) = project.platform.access(ENDPOINT)
    path = f"{project.workspace.id}/providers/{ASSIGNMENT_TYPE}/{wanted.name}"
    other = {
        "principalId": str(uuid.uuid4()),
        "roleDefinitionId": f"x/{CONNECTION_READER}",
        "scope": project.workspace.id,
    }
    project.cloud.arm.seed(path, {"properties": other})
    with pytest.raises(ResourceRefused, match="gives somebody else another role"):
        project.platform.create(wanted)
    assert puts(project) == 0


@pytest.mark.parametrize(("after", "expected"), [(True, None), (False, PlatformUnavailable)])
def test_a_lost_answer(project: ReleaseProject, after: bool, expected: type[Exception] | None) -> None:
    project.ready_endpoint()
    (wanted,) = project.platform.access(ENDPOINT)
    project.cloud.scenario.fault("PUT", "roleAssignments", Reset(after_commit=after), times=4)
    if expected is None:
        project.platform.create(wanted)
    else:
        with pytest.raises(expected):
            project.platform.create(wanted)


def test_it_is_taken_back_twice(project: ReleaseProject) -> None:
    project.ready_endpoint()
    (wanted,) = project.platform.access(ENDPOINT)
    project.platform.create(wanted)
    project.platform.delete(ROLE, wanted.name, endpoint=ENDPOINT)
    project.platform.delete(ROLE, wanted.name, endpoint=ENDPOINT)
    assert project.platform.get(ROLE, wanted.name, endpoint=ENDPOINT) is None
    assert project.platform.owned(ROLE) == []


def test_roles_have_no_tags(project: ReleaseProject) -> None:
    with pytest.raises(Exception, match="Azure keeps no tags for a role assignment"):
        project.platform.tag(ROLE, "x", {"a": "b"}, endpoint=ENDPOINT)
