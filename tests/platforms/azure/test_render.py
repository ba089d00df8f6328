"""What is sent to Azure ML for a release: the user's files, completed, in the schema of Azure ML's own command line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import load_model, load_online_deployment, load_online_endpoint
from azure_project import SUBSCRIPTION, azure_project, deployed, settings_of, take, write_file
from small_project import REPOSITORY, Project

from orchestration.errors import ConfigurationError, PlatformError
from orchestration.platforms.azure import render

IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/team/providers/Microsoft.ManagedIdentity/userAssignedIdentities/us"
)
LOADERS: dict[str, Callable[..., Any]] = {
    "model": load_model,
    "endpoint": load_online_endpoint,
    "deployment": load_online_deployment,
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return azure_project(tmp_path / "project")


def render_deployment(project: Project, **options: Any) -> Any:
    return render.deployment(settings_of(project), deployed(project, take(project), **options))


@pytest.mark.parametrize(
    "file", sorted(REPOSITORY.glob("deployments/*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.name}"
)
def test_the_shipped_files_are_what_az_takes(file: Path) -> None:
    kind, *overlay = file.name.removesuffix(".yaml").split(".")
    base = file.with_name(f"{kind}.yaml")
    entity = LOADERS[kind](base)
    assert entity.name
    if overlay:
        assert overlay[0] in [path.stem for path in (REPOSITORY / "config").glob("*.yaml")]
        values = [{key: value} for key, value in _yaml(file).items()]
        assert LOADERS[kind](base, params_override=values).name == entity.name


def _yaml(file: Path) -> dict[str, Any]:
    from orchestration.yaml_files import read_yaml

    return read_yaml(file, root=REPOSITORY).data


def test_without_files_the_defaults_apply(project: Project) -> None:
    found = render_deployment(project)
    assert (found.name, found.endpoint_name) == ("d1", "tiny-dev")
    assert (found.instance_type, found.instance_count, found.app_insights_enabled) == ("Standard_DS3_v2", 1, False)
    assert found.request_settings.request_timeout_ms == 90_000
    assert found.request_settings.max_concurrent_requests_per_instance == 16
    assert found.liveness_probe.failure_threshold == found.readiness_probe.failure_threshold == 30
    assert found.tags["sluice"] == "1"
    content = found.tags["content"]
    assert found.model == f"tiny:{content[:16]}"


def test_the_container_is_told_where_it_is_and_what_it_gets(project: Project) -> None:
    found = render_deployment(project, variant="${classify.v1}")
    assert found.environment_variables == {
        "PRT_CONFIG_OVERRIDE": f"deployment.subscription_id={SUBSCRIPTION},deployment.resource_group=team,"
        "deployment.workspace_name=studio,deployment.endpoint_name=tiny-dev,deployment.deployment_name=d1",
        "SLUICE_CONNECTIONS": '{"aoai": {"connection": "team-aoai", "model_deployment": "gpt-4o-mini"}}',
        "SLUICE_CONCURRENCY": "16",
        "SLUICE_CONTENT": take(project).content_hash,
        "SLUICE_VARIANT": "${classify.v1}",
    }


def test_every_deployment_is_told_its_own_name(project: Project) -> None:
    candidate, settings = take(project), settings_of(project)
    for name in ("blue", "green"):
        found = render.deployment(settings, deployed(project, candidate, name=name))
        assert found.environment_variables["PRT_CONFIG_OVERRIDE"].endswith(f"deployment_name={name}")


def test_files_lie_over_the_defaults_and_the_environments_over_them(project: Project) -> None:
    write_file(
        project,
        "deployment.yaml",
        "$schema: x\nname: by-hand\nendpoint_name: e\nmodel: azureml:m@latest\nenvironment: azureml:x@latest\n"
        "instance_count: 2\ntags: {team: web, sluice: mine}\n"
        "request_settings: {max_concurrent_requests_per_instance: 4}\n"
        'environment_variables: {MODE: quick, SLUICE_CONTENT: "0", SLUICE_ACCESS_SECONDS: "60"}\n',
    )
    write_file(project, "deployment.dev.yaml", "instance_count: 3\nliveness_probe: {period: 20}\n")
    write_file(project, "deployment.prod.yaml", "instance_count: 9\n")
    found = render_deployment(project)
    assert (found.name, found.endpoint_name, found.model) == ("d1", "tiny-dev", f"tiny:{found.tags['content'][:16]}")
    assert found.instance_count == 3
    assert (found.liveness_probe.period, found.liveness_probe.failure_threshold) == (20, 30)
    assert found.request_settings.max_concurrent_requests_per_instance == 4
    assert found.request_settings.request_timeout_ms == 90_000
    assert (found.tags["team"], found.tags["sluice"]) == ("web", "1")
    assert found.environment_variables["SLUICE_CONCURRENCY"] == "4"
    assert found.environment_variables["MODE"] == "quick"
    assert found.environment_variables["SLUICE_ACCESS_SECONDS"] == "60"
    assert found.environment_variables["SLUICE_CONTENT"] == take(project).content_hash


def test_what_is_described_is_what_is_sent(project: Project) -> None:
    write_file(project, "deployment.yaml", "$schema: x\ndescription: Small\ntags: {team: web}\n")
    wanted, settings = deployed(project, take(project)), settings_of(project)
    described = render.described(settings, wanted)
    environment = str(described.pop("environment"))
    assert environment.startswith("azureml:sluicegate-serving:")
    loaded = load_online_deployment(source=io.StringIO(json.dumps(described)))
    assert _public(loaded) == _public(render.deployment(settings, wanted))
    assert "$schema" not in described


def _public(entity: Any) -> Any:
    if isinstance(entity, dict | str | int | float | bool | type(None)):
        return entity
    return {name: _public(value) for name, value in vars(entity).items() if not name.startswith("_")}


def test_what_is_sent_is_the_snapshot_and_not_the_tree(project: Project) -> None:
    write_file(project, "deployment.yaml", "instance_count: 2\n")
    wanted = deployed(project, take(project))
    write_file(project, "deployment.yaml", "instance_count: 5\n")
    assert render.deployment(settings_of(project), wanted).instance_count == 2


def test_without_the_snapshot_nothing_is_rendered(project: Project) -> None:
    wanted = deployed(project, take(project))
    write_file(project, "deployment.yaml", "instance_count: 5\n")
    other = deployed(project, take(project))
    assert render.deployment(settings_of(project), other).instance_count == 5
    for folder in (project.state / "candidates").glob("*"):
        folder.rename(project.root / folder.name)
    with pytest.raises(PlatformError, match=r"is not on this machine\. Next: sluice run tiny -e dev"):
        render.deployment(settings_of(project), wanted)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "instance_count: 1\ninstance_typ: Standard_DS2_v2\n",
            ":2:instance_typ: unknown key 'instance_typ'. Did you mean",
        ),
        ("request_settings:\n  request_timeout: 3\n", ":2:request_settings.request_timeout: unknown key"),
        (
            "request_settings:\n  request_timeout_ms: soon\n",
            ":2:request_settings.request_timeout_ms: Not a valid integer.",
        ),
        ("\ninstance_count: two\n", ":2:instance_count: Not a valid integer."),
        ("app_insights_enabled: maybe\n", ":1:app_insights_enabled: Not a valid boolean."),
        ("liveness_probe: [1]\n", ":1:liveness_probe: Invalid input type."),
        ("request_settings: quick\n", ":1:request_settings: must be keys with values."),
        ("tags: [a]\n", ":1:tags: must be keys with values."),
        ("tags:\n  team: 7\n", ':2:tags.team: must be text. Write "7".'),
        ("environment_variables:\n  LEVEL: 3\n", ':2:environment_variables.LEVEL: must be text. Write "3".'),
        ("type: kubernetes\n", ":1:type: is 'kubernetes', and only 'managed' works here."),
        ("code_configuration: {code: .}\n", ":1:code_configuration: can't stand here: the image serves"),
        (
            "scale_settings:\n  type: target_utilization\n  max_instances: 3\n",
            ":2:scale_settings.type: managed endpoints scale by rules of Azure Monitor",
        ),
        ("instance_type: [\n", ":2: is not valid YAML"),
        ("data_collector: 3\n", ":1:data_collector: Invalid input type."),
    ],
)
def test_what_is_wrong_is_named_by_file_line_and_key(project: Project, text: str, says: str) -> None:
    write_file(project, "deployment.yaml", text)
    with pytest.raises(ConfigurationError) as raised:
        render_deployment(project)
    assert str(raised.value).startswith(f"deployments/tiny/deployment.yaml{says}")


def test_an_overlay_is_named_where_it_is_wrong(project: Project) -> None:
    write_file(project, "deployment.yaml", "instance_count: 1\n")
    write_file(project, "deployment.dev.yaml", "# more\ninstance_count: many\n")
    with pytest.raises(
        ConfigurationError, match=r"^deployments/tiny/deployment.dev.yaml:2:instance_count: Not a valid"
    ):
        render_deployment(project)


def test_a_name_that_the_container_could_not_read_is_refused(project: Project) -> None:
    with pytest.raises(ConfigurationError, match="PRT_CONFIG_OVERRIDE"):
        render_deployment(project, endpoint="a=b")
    with pytest.raises(ConfigurationError, match="PRT_CONFIG_OVERRIDE"):
        render_deployment(project, name="a,b")


def test_only_connections_of_the_workspace_reach_a_container(project: Project) -> None:
    config = project.root / "config" / "dev.yaml"
    config.write_text(config.read_text().partition("connections:")[0] + "connections: {aoai: {kind: offline}}\n")
    with pytest.raises(
        ConfigurationError, match=r"config/dev.yaml:\d+:connections.aoai: .* kind offline. Next: sluice connections"
    ):
        render_deployment(project)
