"""What lies in an emulated workspace: models, environments, code, datastores, connections, endpoints."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure_clients import GROUP, identities, roles
from azure_emulator import Cloud
from azure_emulator.machine_learning import add_workspace
from endpoint_world import ENDPOINT, World, make_world
from spec_check import findings

SECRETS_READER = "ea01e6af-a1c1-4350-9563-ad00f8c72ec5"


@pytest.fixture
def world(cloud: Cloud, tmp_path: Path) -> World:
    """A workspace without storage: what needs none is fast."""
    return World(cloud, tmp_path)


@pytest.fixture
def stored(cloud: Cloud, tmp_path: Path) -> World:
    """A workspace with storage."""
    return make_world(cloud, tmp_path)


def connection(key: str = "first") -> Any:
    from azure.ai.ml.entities import AzureOpenAIConnection

    return AzureOpenAIConnection(
        name="aoai", azure_endpoint="https://team.openai.azure.com/", api_key=key, api_version="2024-06-01"
    )


def test_a_workspace_says_where_its_services_are(world: World, tmp_path: Path) -> None:
    found = world.ml.workspaces.get("studio")
    assert found.discovery_url == "https://westeurope.api.azureml.ms/discovery"
    assert found.mlflow_tracking_uri.endswith(f"/mlflow/v1.0{world.workspace.id}")
    assert found.storage_account.endswith(world.ml.datastores.get_default().account_name)
    with pytest.raises(ResourceNotFoundError):
        world.ml.workspaces.get("nobody")
    assert findings(world.cloud, tmp_path) == []


@pytest.mark.real
def test_a_version_keeps_its_content_but_not_its_tags(stored: World, tmp_path: Path) -> None:
    first = stored.model(verdict="PASS")
    assert first.path.endswith("/model-echo")
    first.tags = {**first.tags, "alias.dev": "now"}
    again = stored.ml.models.create_or_update(first)
    assert (again.version, again.tags, again.path) == ("c0ffee", {"verdict": "PASS", "alias.dev": "now"}, first.path)
    assert again.creation_context.created_at == first.creation_context.created_at
    (tmp_path / "model-echo" / "more.txt").write_text("more")
    with pytest.raises(ResourceExistsError, match="Asset paths cannot be updated"):
        stored.model()
    stored.environment()
    stored.environment()
    with pytest.raises(ResourceExistsError, match="already registered and cannot be changed"):
        stored.environment(server__py="pass")
    assert stored.ml.environments.get("serving", version="1").inference_config.scoring_route.path == "/score"
    assert findings(stored.cloud, tmp_path) == []


@pytest.mark.real
def test_versions_are_numbered_listed_newest_first_and_archived(stored: World) -> None:
    from azure.ai.ml.entities import Model

    models = stored.ml.models
    for text in ("one", "two"):
        path = stored.files("numbered", text__txt=text)
        models.create_or_update(Model(name="numbered", path=str(path), tags={"text": text}))
        stored.cloud.clock.sleep(1)
    assert [each.version for each in models.list("numbered")] == ["1", "2"]
    assert models.get("numbered", label="latest").version == "2"
    by_tag = stored.ask("GET", "models/numbered/versions?tags=text%3Done").json()["value"]
    assert [each["name"] for each in by_tag] == ["1"]
    models.archive("numbered", version="1")
    assert [each.version for each in models.list("numbered")] == ["2"]
    assert [each.name for each in models.list()] == ["numbered"]
    with pytest.raises(ResourceNotFoundError):
        models.get("numbered", version="3")


@pytest.mark.real
def test_the_same_code_is_uploaded_once(stored: World) -> None:
    from azure.ai.ml.entities._assets import Code

    path = stored.files("code", score__py="print('scored')\n")
    first = stored.ml._code.create_or_update(Code(path=str(path)))
    uploads = sum(each.method == "PUT" and ".blob." in each.url for each in stored.cloud.exchanges)
    again = stored.ml._code.create_or_update(Code(path=str(path)))
    assert (again.id, uploads > 0) == (first.id, True)
    assert sum(each.method == "PUT" and ".blob." in each.url for each in stored.cloud.exchanges) == uploads


def test_assets_without_content_are_refused(world: World) -> None:
    for path, body in (
        ("models/echo/versions/1", {}),
        ("environments/serving/versions/1", {}),
        ("environments/serving/versions/1", {"image": "a", "build": {"contextUri": "b"}}),
        ("models/_echo/versions/1", {"modelUri": "azureml://datastores/workspaceblobstore/paths/x"}),
    ):
        answer = world.ask("PUT", path, {"properties": body})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ValidationError")
    assert world.ask("GET", "models/echo/versions").status_code == 404


@pytest.mark.real
def test_datastores_give_a_token_to_those_who_ask_for_one_and_else_the_key(stored: World) -> None:
    place = "datastores/workspaceblobstore/listSecrets"
    token = stored.ask("POST", place, {"expirableSecret": True, "expireAfterHours": 1}).json()
    assert (token["secretsType"], "sig=" in token["sasToken"]) == ("Sas", True)
    key = stored.ask("POST", place).json()
    assert key["secretsType"] == "AccountKey"
    shown = stored.ask("GET", "datastores/workspaceblobstore").text
    assert key["key"] not in shown
    from azure.storage.blob import ContainerClient

    container = ContainerClient.from_container_url(
        f"https://{stored.ml.datastores.get_default().account_name}.blob.core.windows.net/"
        f"{stored.workspace.container}?{token['sasToken']}"
    )
    with container:
        container.upload_blob("a b/ü.txt", b"kept")
        lease = container.get_blob_client("a b/ü.txt").acquire_lease(15)
        assert list(container.list_blob_names()) == ["a b/ü.txt"]
        lease.release()


def test_connections_show_their_secrets_only_on_request(world: World, tmp_path: Path) -> None:
    world.ml.connections.create_or_update(connection())
    shown = world.ask("GET", "connections/aoai")
    assert shown.json()["properties"]["category"] == "AzureOpenAI"
    assert "first" not in shown.text
    assert world.ml.connections.get("aoai", populate_secrets=True).api_key == "first"
    world.ml.connections.create_or_update(connection("second"))
    assert [each.name for each in world.ml.connections.list()] == ["aoai"]
    assert list(world.ml.connections.list(connection_type="custom_keys")) == []
    assert world.ml.connections.get("aoai", populate_secrets=True).api_key == "second"
    world.ml.connections.delete("aoai")
    with pytest.raises(ResourceNotFoundError):
        world.ml.connections.get("aoai")
    assert findings(world.cloud, tmp_path) == []


def test_a_managed_identity_reads_secrets_only_with_a_role_that_has_reached_the_service(world: World) -> None:
    from azure.mgmt.authorization.models import RoleAssignmentCreateParameters

    cloud = world.cloud
    world.ml.connections.create_or_update(connection())
    principal = cloud.directory.principals[world.endpoint().identity.principal_id]
    token = cloud.directory.issue(principal, "https://management.azure.com/").text

    def read() -> tuple[int, str]:
        answer = world.ask("POST", "connections/aoai/listsecrets", headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.text

    status, text = read()
    assert (status, "AuthorizationFailed" in text, principal.object_id in text) == (403, True, True)
    assert "connections/listsecrets/action" in text
    role = f"{GROUP}/providers/Microsoft.Authorization/roleDefinitions/{SECRETS_READER}"
    wanted = RoleAssignmentCreateParameters(
        role_definition_id=role, principal_id=principal.object_id, principal_type="ServicePrincipal"
    )
    roles(cloud).role_assignments.create(world.workspace.id, str(uuid.uuid4()), wanted)
    assert read()[0] == 403
    cloud.clock.sleep(cloud.scenario.replication_seconds)
    status, text = read()
    assert (status, "first" in text) == (200, True)


@pytest.mark.parametrize("name", ["ab", "a" * 33, "9lives", "under_score", "ends-"])
def test_names_of_endpoints_have_a_form(world: World, name: str) -> None:
    body = {"location": "westeurope", "properties": {"authMode": "Key"}}
    answer = world.ask("PUT", f"onlineEndpoints/{name}", body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ValidationError")


def test_the_name_of_an_endpoint_is_unique_in_the_region(world: World) -> None:
    world.endpoint()
    other = World.__new__(World)
    other.cloud, other.headers = world.cloud, world.headers
    other.workspace = add_workspace(world.cloud, name="elsewhere")
    body = {"location": "westeurope", "properties": {"authMode": "Key"}}
    answer = other.ask("PUT", f"onlineEndpoints/{ENDPOINT.upper()}", body)
    assert answer.status_code == 400
    assert "must be unique within the region" in answer.json()["error"]["message"]
    world.ml.online_endpoints.begin_delete(ENDPOINT)
    world.cloud.clock.sleep(1000)
    assert world.ask("GET", f"onlineEndpoints/{ENDPOINT}").status_code == 404
    assert other.ask("PUT", f"onlineEndpoints/{ENDPOINT}", body).status_code == 201


def test_an_endpoint_has_an_identity_addresses_and_keys(world: World, tmp_path: Path) -> None:
    made = world.endpoint(tags={"sluice": "1"})
    assert made.identity.principal_id in world.cloud.directory.principals
    assert made.scoring_uri == f"https://{ENDPOINT}.westeurope.inference.ml.azure.com/score"
    keys = world.ml.online_endpoints.get_keys(ENDPOINT)
    assert keys.primary_key != keys.secondary_key
    again = world.endpoint(tags={"sluice": "2"})
    assert (again.tags, again.identity.principal_id) == ({"sluice": "2"}, made.identity.principal_id)
    assert world.ml.online_endpoints.get_keys(ENDPOINT).primary_key == keys.primary_key
    assert world.ask("PATCH", f"onlineEndpoints/{ENDPOINT}", {"tags": {"more": "1"}}).status_code == 202
    assert world.settled().tags == {"sluice": "2", "more": "1"}
    assert findings(world.cloud, tmp_path) == []


def test_an_endpoint_can_have_an_identity_of_the_users(world: World) -> None:
    from azure.ai.ml.entities import IdentityConfiguration, ManagedIdentityConfiguration

    path = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"
    identity = IdentityConfiguration(
        type="user_assigned", user_assigned_identities=[ManagedIdentityConfiguration(resource_id=path)]
    )
    with pytest.raises(HttpResponseError, match="does not exist"):
        world.endpoint(identity=identity)
    mine = identities(world.cloud).user_assigned_identities.create_or_update("team", "mine", {"location": "westeurope"})
    world.endpoint(identity=identity)
    shown = world.ask("GET", f"onlineEndpoints/{ENDPOINT}").json()["identity"]
    assert shown["userAssignedIdentities"][path] == {"principalId": mine.principal_id, "clientId": mine.client_id}


def test_an_endpoint_takes_its_deployments_along_though_nobody_asked_for_it(world: World) -> None:
    world.endpoint()
    below = f"onlineEndpoints/{ENDPOINT}/deployments"
    world.cloud.arm.seed(f"{world.workspace.id}/{below}/blue", {"properties": {}})
    assert world.ask("GET", f"{below}/blue").status_code == 200
    world.ml.online_endpoints.begin_delete(ENDPOINT)
    assert world.ask("GET", f"{below}/blue").status_code == 200
    world.cloud.clock.sleep(1000)
    assert world.ask("GET", f"{below}/blue").status_code == 404
    assert world.ask("GET", below).status_code == 404


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        ({"blue": 50}, "sum to 50"),
        ({"blue": 101}, "from 0 to 100"),
        ({"red": 100}, "not found in endpoint: red"),
        ({"blue": 100}, "blue is in Creating provisioning state"),
    ],
)
def test_traffic_that_makes_no_sense_is_refused_and_changes_nothing(
    world: World, traffic: dict[str, int], said: str
) -> None:
    world.endpoint()
    below = f"{world.workspace.id}/onlineEndpoints/{ENDPOINT}/deployments/blue"
    world.cloud.arm.seed(below, {"properties": {}}).state = "Creating"
    body = {"location": "westeurope", "properties": {"authMode": "Key", "traffic": traffic}}
    answer = world.ask("PUT", f"onlineEndpoints/{ENDPOINT}", body)
    assert (answer.status_code, said in answer.json()["error"]["message"]) == (400, True), answer.text
    shown = world.ask("GET", f"onlineEndpoints/{ENDPOINT}").json()["properties"]
    assert (shown["traffic"], shown["provisioningState"]) == ({}, "Succeeded")
