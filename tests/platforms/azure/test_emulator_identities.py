"""Managed identities and role assignments, by azure-mgmt-msi and azure-mgmt-authorization."""

from __future__ import annotations

import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.authorization import AuthorizationManagementClient
from azure_clients import GROUP, SUBSCRIPTION, WORKSPACE, WORKSPACE_TYPE, identities, roles
from azure_emulator import Cloud
from azure_emulator.faults import PRINCIPAL_NOT_FOUND
from azure_emulator.identities import granted
from azure_emulator.kinds import Kind

SECRETS_READER = "ea01e6af-a1c1-4350-9563-ad00f8c72ec5"
GUID = str(uuid.UUID(int=0xF00D))
ROLE = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{SECRETS_READER}"


def assignment(principal: str, **more: str) -> dict[str, dict[str, str]]:
    return {"properties": {"roleDefinitionId": ROLE, "principalId": principal, **more}}


def assign(client: AuthorizationManagementClient, principal: str, *, name: str = "", scope: str = WORKSPACE) -> str:
    """Assign the role; returns the assignment's id."""
    body = assignment(principal, principalType="ServicePrincipal")
    made = client.role_assignments.create(scope, name or str(uuid.uuid4()), body)
    return str(made.id)


@pytest.fixture(autouse=True)
def workspace(cloud: Cloud) -> None:
    cloud.arm.kind(WORKSPACE_TYPE, Kind())
    cloud.arm.seed(WORKSPACE, {"location": "westeurope"})


def test_an_identity_lives_with_its_principal_from_creation_to_removal(cloud: Cloud) -> None:
    client = identities(cloud).user_assigned_identities
    made = client.create_or_update("team", "mine", {"location": "westeurope", "tags": {"sluice": "1"}})
    again = client.create_or_update("team", "mine", {"location": "westeurope", "tags": {"sluice": "2"}})
    assert (made.principal_id, made.client_id) == (again.principal_id, again.client_id)
    assert made.tenant_id == cloud.directory.tenant
    assert client.get("team", "mine").tags == {"sluice": "2"}
    assert client.update("team", "mine", {"tags": {"more": "x"}}).tags == {"sluice": "2", "more": "x"}
    client.delete("team", "mine")
    client.delete("team", "mine")
    assert made.principal_id not in cloud.directory.principals
    with pytest.raises(ResourceNotFoundError, match="ResourceNotFound"):
        client.get("team", "mine")


def test_lists_come_in_pages_at_every_scope(cloud: Cloud) -> None:
    cloud.scenario.page_size = 2
    client = identities(cloud).user_assigned_identities
    for name in "abcde":
        client.create_or_update("team", name, {"location": "westeurope"})
    client.create_or_update("others", "z", {"location": "westeurope"})
    assert [each.name for each in client.list_by_resource_group("team")] == list("abcde")
    assert [each.name for each in client.list_by_subscription()] == list("abcdez")
    pages = [each for each in cloud.exchanges if each.method == "GET" and "userAssignedIdentities" in each.url]
    assert len(pages) == 6


def test_the_same_assignment_twice_is_one_and_under_another_name_a_conflict(cloud: Cloud) -> None:
    client, principal, name = roles(cloud), cloud.directory.principal().object_id, str(uuid.uuid4())
    assert assign(client, principal, name=name) == assign(client, principal, name=name)
    with pytest.raises(ResourceExistsError) as exists:
        assign(client, principal)
    assert exists.value.error.code == "RoleAssignmentExists"
    with pytest.raises(HttpResponseError, match="RoleAssignmentUpdateNotPermitted"):
        assign(client, cloud.directory.principal().object_id, name=name)
    assert assign(client, principal, scope=GROUP)  # another scope is another assignment
    codes = [each.status for each in cloud.exchanges if each.method == "PUT"]
    assert codes == [201, 200, 409, 409, 201]


def test_a_new_principal_is_found_late_unless_its_type_is_given(cloud: Cloud) -> None:
    client, principal = roles(cloud), cloud.directory.principal().object_id
    untyped, name = assignment(principal), str(uuid.uuid4())
    with pytest.raises(HttpResponseError, match="PrincipalNotFound"):
        client.role_assignments.create(WORKSPACE, name, untyped)
    cloud.clock.sleep(cloud.scenario.replication_seconds)
    assert client.role_assignments.create(WORKSPACE, name, untyped).principal_id == principal
    assign(client, cloud.directory.principal().object_id)


def test_a_scenario_forces_the_principal_to_be_unknown_for_some_tries(cloud: Cloud) -> None:
    cloud.scenario.fault("PUT", "roleAssignments", PRINCIPAL_NOT_FOUND, times=2)
    client, principal = roles(cloud), cloud.directory.principal().object_id
    for _ in range(2):
        with pytest.raises(HttpResponseError, match="PrincipalNotFound"):
            assign(client, principal)
    assert assign(client, principal)
    assert cloud.scenario.unplayed() == {}


def test_a_role_is_effective_only_after_a_while_at_its_scope_and_below(cloud: Cloud) -> None:
    client, principal = roles(cloud), cloud.directory.principal().object_id
    assign(client, principal)
    endpoint = f"{WORKSPACE}/onlineEndpoints/e"
    cloud.clock.sleep(cloud.scenario.replication_seconds - 1)
    assert not granted(cloud, principal, SECRETS_READER, WORKSPACE)
    cloud.clock.sleep(1)
    assert granted(cloud, principal, SECRETS_READER, WORKSPACE)
    assert granted(cloud, principal, SECRETS_READER, endpoint)
    assert not granted(cloud, principal, SECRETS_READER, GROUP)
    assert not granted(cloud, principal, str(uuid.uuid4()), WORKSPACE)
    assert not granted(cloud, cloud.directory.principal().object_id, SECRETS_READER, WORKSPACE)


def test_a_removed_assignment_grants_nothing(cloud: Cloud) -> None:
    client, principal, name = roles(cloud), cloud.directory.principal().object_id, str(uuid.uuid4())
    assign(client, principal, name=name)
    cloud.clock.sleep(cloud.scenario.replication_seconds)
    assert client.role_assignments.delete(WORKSPACE, name).principal_id == principal
    assert not granted(cloud, principal, SECRETS_READER, WORKSPACE)
    assert client.role_assignments.delete(WORKSPACE, name) is None


def test_assignments_are_listed_at_above_and_below_a_scope(cloud: Cloud) -> None:
    client, mine, other = roles(cloud), cloud.directory.principal().object_id, cloud.directory.principal().object_id
    made = {
        "above": assign(client, mine, scope=GROUP),
        "at": assign(client, mine),
        "other": assign(client, other),
        "elsewhere": assign(client, mine, scope=f"/subscriptions/{SUBSCRIPTION}/resourceGroups/others"),
    }

    def listed(scope: str, filter_: str | None) -> set[str]:
        ids = {str(each.id) for each in client.role_assignments.list_for_scope(scope, filter=filter_)}
        return {name for name, id_ in made.items() if id_ in ids}

    assert listed(WORKSPACE, None) == {"above", "at", "other"}
    assert listed(GROUP, None) == {"above", "at", "other"}
    assert listed(GROUP, "atScope()") == {"above"}
    assert listed(WORKSPACE, f"principalId eq '{mine}'") == {"above", "at"}
    assert listed(WORKSPACE, f"assignedTo('{other}')") == {"other"}
    with pytest.raises(HttpResponseError, match="InvalidFilter"):
        listed(WORKSPACE, "startswith(principalId, 'a')")


def test_the_assignments_of_a_removed_identity_stay_and_those_of_a_removed_resource_go(cloud: Cloud) -> None:
    made = identities(cloud).user_assigned_identities
    identity = made.create_or_update("team", "mine", {"location": "westeurope"})
    client = roles(cloud)
    on_workspace = assign(client, identity.principal_id)
    on_identity = assign(client, cloud.directory.principal().object_id, scope=identity.id)
    made.delete("team", "mine")
    assert cloud.see(on_workspace) is not None
    assert cloud.see(on_identity) is None


@pytest.mark.parametrize(
    ("name", "principal", "role", "code"),
    [
        ("not-a-guid", GUID, ROLE, "InvalidRoleAssignmentId"),
        (GUID, "me", ROLE, "InvalidPrincipalId"),
        (GUID, GUID, SECRETS_READER, "BadRequestFormat"),
    ],
)
def test_ill_formed_assignments_are_refused(cloud: Cloud, name: str, principal: str, role: str, code: str) -> None:
    asked = {"properties": {"roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal"}}
    with pytest.raises(HttpResponseError, match=code):
        roles(cloud).role_assignments.create(WORKSPACE, name, asked)


def test_an_assignment_needs_a_resource_that_exists(cloud: Cloud) -> None:
    with pytest.raises(ResourceNotFoundError):
        assign(roles(cloud), cloud.directory.principal().object_id, scope=f"{WORKSPACE}-gone")
