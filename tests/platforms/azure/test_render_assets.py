"""Endpoints, models and Microsoft's image: what else is sent to Azure ML for a release, and what is refused before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure_project import SUBSCRIPTION, azure_project, deployed, settings_of, take, write_file
from small_project import Project

from orchestration.errors import ConfigurationError
from orchestration.platforms.azure import render
from orchestration.platforms.base import Endpoint
from orchestration.tracking.model_folder import check_model_folder

IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/team/providers/Microsoft.ManagedIdentity/userAssignedIdentities/us"
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return azure_project(tmp_path / "project")


# ---- endpoints


def endpoint_of(project: Project) -> Any:
    tags = {"sluice": "1", "prompt_flow": "tiny", "environment": "dev"}
    return render.endpoint(settings_of(project), Endpoint("tiny-dev", tags))


def test_an_endpoint_without_a_file(project: Project) -> None:
    take(project)
    found = endpoint_of(project)
    assert (found.name, found.auth_mode, found.identity.type) == ("tiny-dev", "key", "system_assigned")
    assert found.tags == {"sluice": "1", "prompt_flow": "tiny", "environment": "dev"}
    assert not found.traffic


def test_an_endpoint_by_its_file(project: Project) -> None:
    write_file(
        project,
        "endpoint.yaml",
        "name: x-y\ndescription: Small\nauth_mode: aml_token\ntags: {team: web}\npublic_network_access: enabled\n"
        "identity: {type: none}\n",
    )
    write_file(project, "endpoint.dev.yaml", "public_network_access: disabled\n")
    take(project)
    found = endpoint_of(project)
    assert (found.name, found.description, found.auth_mode) == ("tiny-dev", "Small", "aml_token")
    assert (found.public_network_access, found.tags["team"]) == ("disabled", "web")
    assert found.identity.type == "system_assigned"


def test_an_endpoint_with_an_identity_of_the_users(tmp_path: Path) -> None:
    project = azure_project(tmp_path / "project", more=f"  endpoint_identity: {IDENTITY}\n")
    found = endpoint_of(project)
    assert found.identity.type == "user_assigned"
    assert [each.resource_id for each in found.identity.user_assigned_identities] == [IDENTITY]
    wanted = deployed(project, take(project))
    assert "AZURE_CLIENT_ID" not in render.deployment(settings_of(project), wanted).environment_variables
    entity = render.deployment(settings_of(project), wanted, client_id="c-1")
    assert entity.environment_variables["AZURE_CLIENT_ID"] == "c-1"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("traffic: {a: 100}\n", ":1:traffic: can't stand here: the release moves the traffic"),
        ("compute: azureml:k8s\n", ":1:compute: can't stand here"),
        ("auth_mod: key\n", ":1:auth_mod: unknown key 'auth_mod'. Did you mean 'auth_mode'?"),
        ("auth_mode: open\n", ":1:auth_mode: Value 'open' passed is not in set"),
    ],
)
def test_what_is_wrong_with_an_endpoint(project: Project, text: str, says: str) -> None:
    write_file(project, "endpoint.yaml", text)
    take(project)
    with pytest.raises(ConfigurationError) as raised:
        endpoint_of(project)
    assert str(raised.value).startswith(f"deployments/tiny/endpoint.yaml{says}")


# ---- models


def test_a_model_is_what_was_judged(project: Project) -> None:
    write_file(
        project,
        "model.yaml",
        "name: x\npath: ../../flows/tiny\ndescription: Small\nproperties: {a: b}\ntags: {team: web}\n",
    )
    candidate = take(project)
    with render.model(settings_of(project), candidate) as found:
        folder = Path(found.path)
        assert (found.name, found.version, found.type) == ("tiny", candidate.content_hash[:16], "custom_model")
        assert (found.description, found.properties, found.tags["team"]) == ("Small", {"a": "b"}, "web")
        assert folder.name == "tiny"
        assert (folder / "flow" / "tiny.py").read_bytes() == (project.flow / "tiny.py").read_bytes()
        assert (folder / "deployments" / "model.yaml").is_file()
        check_model_folder(folder, found.tags["manifest"])
    assert not folder.exists()


def test_a_model_of_another_kind_is_refused(project: Project) -> None:
    write_file(project, "model.yaml", "type: mlflow_model\n")
    refused = pytest.raises(ConfigurationError, match=r"^deployments/tiny/model.yaml:1:type: is 'mlflow_model'")
    with refused, render.model(settings_of(project), take(project)):
        pass


# ---- Microsoft's image

IMAGE = "  image: mcr.microsoft.com/azureml/promptflow/promptflow-runtime:20240101.v1\n"


def test_microsofts_image_gets_what_prompt_flows_own_serving_reads(tmp_path: Path) -> None:
    project = azure_project(tmp_path / "project", more=IMAGE)
    (project.flow / "callable.toml").unlink()
    (project.flow / "flow.flex.yaml").write_text("entry: tiny:answer\n")
    config = project.root / "config" / "dev.yaml"
    config.write_text(config.read_text().replace(", model_deployment: gpt-4o-mini", ""))
    candidate = take(project)
    found = render.deployment(settings_of(project), deployed(project, candidate))
    version = candidate.content_hash[:16]
    assert found.environment_variables == {
        "PRT_CONFIG_OVERRIDE": found.environment_variables["PRT_CONFIG_OVERRIDE"],
        "PROMPTFLOW_RUN_MODE": "serving",
        "PROMPTFLOW_PROJECT_PATH": f"/var/azureml-app/azureml-models/tiny/{version}/tiny/flow",
        "aoai": "team-aoai",
    }


@pytest.mark.parametrize(
    ("flow", "variant", "model", "says"),
    [
        ("flow.flex.yaml", "${a.b}", False, r"config/dev.yaml:\d+:azure.image: .* can't serve the variant"),
        ("callable.toml", None, False, r"config/dev.yaml:\d+:azure.image: .* flow of kind callable"),
        ("flow.flex.yaml", None, True, r"config/dev.yaml:\d+:connections.aoai.model_deployment: .* itself names"),
    ],
)
def test_what_microsofts_image_would_serve_differently_is_refused(
    tmp_path: Path, flow: str, variant: str | None, model: bool, says: str
) -> None:
    project = azure_project(tmp_path / "project", more=IMAGE)
    if flow != "callable.toml":
        (project.flow / "callable.toml").unlink()
        (project.flow / flow).write_text("entry: tiny:answer\n")
    if not model:
        config = project.root / "config" / "dev.yaml"
        config.write_text(config.read_text().replace(", model_deployment: gpt-4o-mini", ""))
    with pytest.raises(ConfigurationError, match=says):
        render.deployment(settings_of(project), deployed(project, take(project), variant=variant))
