"""Blocks of a real Prefect server as the steps see them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.real

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
CLIENT = "00000000-0000-4000-8000-000000000002"


@pytest.fixture(scope="module")
def saved() -> Iterator[None]:
    """A server of its own, with one block of each type that may be referred to."""
    from prefect.blocks.system import Secret
    from prefect.testing.utilities import prefect_test_harness
    from prefect_azure.credentials import AzureMlCredentials

    from blocks import LLMConnection, SluiceEnvironment

    with prefect_test_harness():
        LLMConnection(api_key="k-llm", api_base="https://a.example", model_deployment="gpt").save("team")
        Secret(value="k-secret").save("team")
        AzureMlCredentials(
            tenant_id="contoso.example",
            service_principal_id=CLIENT,
            service_principal_password="k-azure",
            subscription_id=SUBSCRIPTION,
            resource_group="group",
            workspace_name="space",
        ).save("team")
        SluiceEnvironment(overrides={"azure": {"workspace": "other"}}, connections={"aoai": "team"}).save("dev")
        yield


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("llm-connection/team", "k-llm"),
        ("llm-connection/team/model_deployment", "gpt"),
        ("secret/team", "k-secret"),
        ("azureml-credentials/team", "k-azure"),
        ("azureml-credentials/team/service_principal_id", CLIENT),
        ("azureml-credentials/team/subscription_id", SUBSCRIPTION),
        ("azureml-credentials/nobody", None),
        ("azureml-credentials/team/save", None),
        ("azureml-credentials/team/no_such_field", None),
        ("sluice-environment/dev", None),
        ("json/team", None),
        ("nothing", None),
    ],
)
def test_a_reference_names_a_block_and_one_of_its_texts(saved, reference, value):
    from orchestration.prefect_flows import environment_block

    assert environment_block.secret(reference) == value


def test_a_credential_block_signs_in_as_its_service_principal(saved, tmp_path):
    from orchestration.prefect_flows import environment_block
    from orchestration.references import using_blocks
    from orchestration.settings import load_settings
    from orchestration.settings.azure_account import sign_in, workspace_id

    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text("{}\n")
    (tmp_path / "config" / "dev.yaml").write_text(
        "platform: azure\nazure:\n  subscription_id: {block: azureml-credentials/team/subscription_id}\n"
        "  resource_group: group\n  workspace: space\n  credential: {kind: block, name: team}\n"
    )
    with using_blocks(environment_block.secret):
        settings = load_settings(tmp_path, "dev", block=environment_block.load("dev"))
        found, workspace = sign_in(settings), workspace_id(settings)
    assert (found.kind, found.tenant_id, found.client_id) == ("client_secret", "contoso.example", CLIENT)
    assert found.client_secret is not None
    assert found.client_secret.reveal() == "k-azure"
    assert (workspace.subscription_id, workspace.workspace) == (SUBSCRIPTION, "other")


def test_an_environments_block_has_its_connections_by_reference(saved):
    from orchestration.prefect_flows import environment_block

    assert environment_block.load("dev") == {
        "azure": {"workspace": "other"},
        "connections": {
            "aoai": {
                "kind": "azure_openai",
                "api_base": "https://a.example",
                "model_deployment": "gpt",
                "api_key": {"block": "llm-connection/team"},
            }
        },
    }
    assert environment_block.load("prod") is None
