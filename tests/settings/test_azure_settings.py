"""`azure:` and connections of kind `workspace`: what can't work is refused at its place, and nothing is called for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from orchestration.errors import ConfigurationError
from orchestration.settings import load_settings, settings_problems
from orchestration.settings.azure_account import BLOCK, sign_in, workspace_id

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
CLIENT = "00000000-0000-4000-8000-000000000002"
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/my-group/providers/Microsoft.ManagedIdentity"
    "/userAssignedIdentities/endpoints"
)
SECTION = f"""\
platform: azure
azure:
  subscription_id: {SUBSCRIPTION}
  resource_group: my-group
  workspace: my-workspace
  credential:
    kind: client_secret
    tenant_id: {SUBSCRIPTION}
    client_id: {CLIENT}
    client_secret: {{env: AZURE_SECRET}}
  image: own
  endpoint_identity: system
  grant_access: true
  poll_seconds: 10
  deadlines: {{endpoint: 1200, deployment: 3600, access: 900, removal: 1800}}
  tracking_uri: null
"""
REQUIRED = {"subscription_id", "resource_group", "workspace", "credential", "kind", "tenant_id", "client_id"}
KEYS = [line.split(":")[0].strip() for line in SECTION.splitlines()[2:]]


def section(credential: str = "{kind: cli}", more: str = "") -> str:
    return (
        f"platform: azure\nazure:\n  subscription_id: {SUBSCRIPTION}\n  resource_group: my-group\n"
        f"  workspace: my-workspace\n  credential: {credential}\n{more}"
    )


def refusal(settings_of, text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as error:
        settings_of(text)
    assert "\n" not in str(error.value)
    return error.value


def test_all_keys_and_their_defaults(settings_of):
    full, short = settings_of(SECTION).azure, settings_of(section()).azure
    assert full is not None
    assert short is not None
    assert short.model_dump(exclude={"credential"}) == full.model_dump(exclude={"credential"})
    assert (short.deadlines.deployment, short.poll_seconds, short.image) == (3600, 10, "own")


def test_a_platform_without_its_section_names_the_cure(settings_of):
    error = refusal(settings_of, "platform: azure\n")
    assert str(error).startswith(
        "config/dev.yaml:1:platform: the platform 'azure' needs the section azure. Add azure: {"
    )
    assert "docs/azure-setup.md" in error.cure


def test_the_section_may_wait_while_the_platform_is_local(settings_of):
    assert settings_of(SECTION.replace("platform: azure", "platform: local")).azure is not None


@pytest.mark.parametrize("key", KEYS)
def test_without_a_key_it_loads_or_is_refused_where_the_key_belongs(settings_of, key):
    lines = SECTION.splitlines()
    gone = next(line for line in lines if line.strip().startswith(f"{key}:"))
    below = [line for line in lines if key == "credential" and line.startswith("    ")]
    text = "\n".join(line for line in lines if line != gone and line not in below)
    if key in REQUIRED | {"client_secret"}:
        error = refusal(settings_of, text)
        assert error.at is not None
        assert str(error.at).startswith("config/dev.yaml:")
        assert (error.at.key.split(".")[-1], f"'{key}'" in error.message, bool(error.cure)) == (key, True, True)
    else:
        assert settings_of(text).azure is not None


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (SECTION.replace(SUBSCRIPTION, "my-subscription", 1), "3:azure.subscription_id", "is not an ID like 0000"),
        (SECTION.replace(CLIENT, "sk-canary"), "9:azure.credential.client_id", "is not an ID like 0000"),
        (section("{kind: cli, tenant_id: a b}"), "6:azure.credential.tenant_id", "is not an ID like 0000"),
        (section("{kind: cli, client_id: null}"), "6:azure.credential.client_id", "kind cli has no 'client_id'"),
        (section("{kind: managed_identity, tenant_id: a.b}"), "6:azure.credential.tenant_id", "has no 'tenant_id'"),
        (section("{kind: certificate, tenant_id: a.b}"), "6:azure.credential.client_id", "needs 'client_id'"),
        (section("{kind: block}"), "6:azure.credential.name", "needs 'name'"),
        (section("{kind: default}"), "6:azure.credential.kind", 'found "default", expected'),
        (
            section("{kind: client_secret, client_secret: s3cret}"),
            "6:azure.credential.client_secret",
            "found text, expected keys with values",
        ),
        (section(more="  image: python:3.11\n"), "7:azure.image", "expected own, or mcr.microsoft.com/azureml/"),
        (section(more="  endpoint_identity: mine\n"), "7:azure.endpoint_identity", "expected system, or the ID of"),
        (section(more="  deadlines: {access: 0}\n"), "7:azure.deadlines.access", "found 0"),
        (section(more="  deadlines: {acces: 5}\n"), "7:azure.deadlines.acces", "Did you mean 'access'?"),
        (section(more="  poll_seconds: 0\n"), "7:azure.poll_seconds", "found 0"),
        (section(more="  tracking_uri: mlflow.example\n"), "7:azure.tracking_uri", "is not an address"),
        (section().replace("my-workspace", "a"), "5:azure.workspace", "expected 2 to 33"),
        (section().replace("my-group", "group."), "4:azure.resource_group", "expected up to 90"),
        (
            section(more="endpoint: {name: my_endpoint}\n"),
            "7:endpoint.name",
            'found "my_endpoint"',
        ),
        (section(more="  compute_instance: {vm_size: big}\n"), "7:azure.compute_instance.vm_size", "such as Standard_"),
        (
            section(more="  compute_instance: {idle_minutes: 5}\n"),
            "7:azure.compute_instance.idle_minutes",
            "between 15 and 4320",
        ),
        (
            section(more="place: compute-instance\n").replace("platform: azure", "platform: local"),
            "7:place",
            "needs the platform azure",
        ),
        (
            section(more="place: compute-instance\nevaluation: {max_tokens: 9}\n"),
            "8:evaluation.max_tokens",
            "a spending ceiling can't be kept to at the place 'compute-instance'",
        ),
        (section(more="endpoint: {name: e1}\n"), "7:endpoint.name", 'found "e1"'),
        (section(more=f"endpoint: {{name: {'e' * 33}}}\n"), "7:endpoint.name", "found "),
    ],
)
def test_a_value_that_cannot_work_is_refused_at_its_place(settings_of, text, place, said):
    error = refusal(settings_of, text)
    assert str(error.at) == f"config/dev.yaml:{place}"
    assert said in str(error)
    assert "canary" not in str(error)
    assert "s3cret" not in str(error)


def test_a_place_in_the_cloud_needs_a_workspace(settings_of):
    error = refusal(settings_of, "place: compute-instance\n")
    assert str(error.at) == "config/dev.yaml:1:place"
    assert "needs the section azure" in str(error)


def test_a_place_in_the_cloud(settings_of):
    settings = settings_of(section(more="place: compute-instance\n"))
    assert settings.place == "compute-instance"
    assert settings.azure is not None
    assert settings.azure.compute_instance.vm_size == "Standard_DS1_v2"


def test_a_user_assigned_identity_is_named_by_its_id(settings_of):
    azure = settings_of(section(more=f"  endpoint_identity: {IDENTITY}\n")).azure
    assert azure is not None
    assert azure.endpoint_identity == IDENTITY


def test_a_credential_replaces_the_one_below_it_whole(root, settings_of):
    base = (root / "config" / "base.yaml").read_text()
    (root / "config" / "base.yaml").write_text(base + SECTION)
    azure = settings_of("azure: {credential: {kind: cli}}\n").azure
    assert azure is not None
    assert (azure.credential.client_id, azure.workspace) == (None, "my-workspace")


WORKSPACE = "connections:\n  aoai:\n    kind: workspace\n    name: my-aoai\n"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        (WORKSPACE, "3:connections.aoai.kind", "needs the section azure"),
        (section(more=WORKSPACE).replace("    name: my-aoai\n", ""), "8:connections.aoai.name", "needs its name"),
        (section(more=WORKSPACE + "    api_key: {env: K}\n"), "11:connections.aoai.api_key", "has no 'api_key'"),
        (section(more=WORKSPACE.replace("my-aoai", "a b")), "10:connections.aoai.name", "expected 3 to 33 letters"),
        ("connections: {aoai: {kind: offline, name: x-y}}\n", "1:connections.aoai.name", "has no 'name'"),
    ],
)
def test_a_workspace_connection_that_cannot_work(settings_of, text, place, said):
    error = refusal(settings_of, text)
    assert (str(error.at), said in str(error)) == (f"config/dev.yaml:{place}", True)


def test_every_problem_is_listed(root, settings_of):
    (root / "config" / "dev.yaml").write_text(section("{kind: block}", WORKSPACE.replace("    name: my-aoai\n", "")))
    keys = {error.at.key for error in settings_problems(root, "dev") if error.at}
    assert keys == {"azure.credential.name", "connections.aoai.name"}


def test_a_subscription_by_reference_is_checked_when_it_is_resolved(settings_of):
    settings = settings_of(section().replace(SUBSCRIPTION, "{env: SUBSCRIPTION_ID}"))
    found = workspace_id(settings, env={"SUBSCRIPTION_ID": SUBSCRIPTION.upper()})
    assert found.arm_id == (
        f"/subscriptions/{SUBSCRIPTION}/resourceGroups/my-group"
        "/providers/Microsoft.MachineLearningServices/workspaces/my-workspace"
    )
    for value, said in (("sk-canary", "is not an ID like 0000"), ("", "SUBSCRIPTION_ID is not set")):
        with pytest.raises(ConfigurationError, match=said) as error:
            workspace_id(settings, env={"SUBSCRIPTION_ID": value})
        assert str(error.value.at) == "config/dev.yaml:3:azure.subscription_id"
        assert "canary" not in str(error.value)


def test_the_placeholder_of_the_sample_is_no_subscription(root, settings_of):
    (root / ".env.sample").write_text(f"SUBSCRIPTION_ID={SUBSCRIPTION}\n")
    settings = settings_of(section().replace(SUBSCRIPTION, "{env: SUBSCRIPTION_ID}"))
    with pytest.raises(ConfigurationError, match="still has the placeholder"):
        workspace_id(settings, env={"SUBSCRIPTION_ID": SUBSCRIPTION})


def test_who_signs_in_has_its_parts_resolved_and_hidden(settings_of):
    found = sign_in(settings_of(SECTION), env={"AZURE_SECRET": "canary"})
    assert (found.kind, found.tenant_id, found.client_id) == ("client_secret", SUBSCRIPTION, CLIENT)
    assert found.client_secret is not None
    assert found.client_secret.reveal() == "canary"
    assert "canary" not in repr(found)
    assert sign_in(settings_of(section()), env={}).kind == "cli"


def test_a_block_is_a_client_secret_with_all_its_fields(settings_of):
    fields = {
        f"{BLOCK}/team/tenant_id": SUBSCRIPTION,
        f"{BLOCK}/team/service_principal_id": CLIENT,
        f"{BLOCK}/team/service_principal_password": "canary",
    }
    settings = settings_of(section("{kind: block, name: team}"))
    found = sign_in(settings, env={}, blocks=fields.get)
    assert (found.kind, found.tenant_id, found.client_id) == ("client_secret", SUBSCRIPTION, CLIENT)
    assert found.client_secret is not None
    assert found.client_secret.reveal() == "canary"
    with pytest.raises(ConfigurationError, match=r"azure\.credential.*the block .* does not exist"):
        sign_in(settings, env={}, blocks=lambda name: None)


def test_a_certificate_is_a_file_of_the_project(root, settings_of):
    settings = settings_of(
        section(f"{{kind: certificate, tenant_id: a.b, client_id: {CLIENT}, certificate: keys/me.pem}}")
    )
    with pytest.raises(ConfigurationError, match=r"6:azure\.credential\.certificate: there is no file keys/me\.pem"):
        sign_in(settings, env={})
    (root / "keys").mkdir()
    (root / "keys" / "me.pem").write_text("")
    assert sign_in(settings, env={}).certificate == root / "keys" / "me.pem"


def test_an_environment_without_a_workspace(root):
    with pytest.raises(ConfigurationError, match="names no Azure Machine Learning workspace"):
        workspace_id(load_settings(root, "prod"))


def test_settings_of_azure_import_nothing_of_azure(root, settings_of):
    settings_of(SECTION)
    code = (
        "import sys; from pathlib import Path; from orchestration.settings import load_settings\n"
        "settings = load_settings(Path(sys.argv[1]), 'dev')\n"
        "from orchestration.platforms import open_platform; from orchestration import connections\n"
        "assert settings.azure; print([name for name in sys.modules if name.split('.')[0] in ('azure', 'mlflow')])"
    )
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
