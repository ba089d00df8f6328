from __future__ import annotations

import pytest

from orchestration.errors import ConfigurationError
from orchestration.settings import bind
from orchestration.specs import PromptFlowSpec

AZURE = """\
connections:
  aoai:
    kind: azure_openai
    api_base: {env: AOAI_API_BASE}
    api_key: {env: AOAI_API_KEY}
    model_deployment: gpt
"""
ENV = {"AOAI_API_BASE": "https://a.example/", "AOAI_API_KEY": "canary"}


def spec(*connections: str) -> PromptFlowSpec:
    return PromptFlowSpec.model_validate(
        {"connections": connections, "gate": {}, "sample": {"inputs": {}, "answer": {}}}
    )


def test_offline_binding_needs_nothing(settings_of):
    binding = bind(settings_of(), spec("aoai"), env={})
    assert binding.environment == "dev"
    assert binding.connections["aoai"]["kind"] == "offline"


def test_addresses_are_resolved_and_secrets_left_out(settings_of):
    binding = bind(settings_of(AZURE), spec("aoai"), env=ENV)
    assert binding.connections["aoai"] == {
        "kind": "azure_openai",
        "api_base": "https://a.example",
        "api_version": "2024-10-21",
        "model_deployment": "gpt",
    }
    assert "canary" not in repr(binding)


def test_the_hash_changes_with_what_answers_and_with_nothing_else(settings_of):
    hashes = [
        bind(settings_of(AZURE + more), spec("aoai"), env=ENV | env).binding_hash
        for more, env in (
            ("", {}),
            ("    requests_per_minute: 5\n", {}),
            ("", {"AOAI_API_KEY": "another"}),
            ("", {"AOAI_API_BASE": "https://b.example"}),
            ("    api_version: 2024-02-01\n", {}),
        )
    ]
    assert hashes[0] == hashes[1] == hashes[2]
    assert len(set(hashes)) == 3


def test_the_order_of_connections_does_not_matter(settings_of):
    settings = settings_of("connections: {b: {kind: offline}}\n")
    assert bind(settings, spec("aoai", "b"), env={}) == bind(settings, spec("b", "aoai"), env={})


def test_custom_connections_name_their_secrets_only(settings_of):
    text = "connections: {search: {kind: custom, values: {index: a}, secrets: {key: {env: SEARCH_KEY}}}}\n"
    binding = bind(settings_of(text), spec("search"), env={"SEARCH_KEY": "canary"})
    assert binding.connections["search"] == {"kind": "custom", "values": {"index": "a"}, "secrets": ["key"]}


def test_a_connection_that_the_environment_does_not_have(settings_of):
    with pytest.raises(ConfigurationError) as error:
        bind(settings_of("connections:\n  search: {kind: offline}\n"), spec("aoia"), env={})
    assert str(error.value) == (
        "config/dev.yaml:1:connections: the prompt flow needs a connection 'aoia', which dev does not have. "
        "Did you mean 'aoai'?"
    )


def test_an_address_that_is_not_one_is_not_repeated(settings_of):
    with pytest.raises(ConfigurationError) as error:
        bind(settings_of(AZURE), spec("aoai"), env=ENV | {"AOAI_API_BASE": "sk-canary"})
    assert str(error.value).startswith("config/dev.yaml:4:connections.aoai.api_base: is not an address")
    assert "canary" not in str(error.value)


def test_prices_are_the_highest_and_unknown_if_one_is(settings_of):
    text = (
        "connections:\n"
        "  aoai: {kind: openai, prices: {prompt_per_million: 1, completion_per_million: 4}}\n"
        "  b: {kind: openai, prices: {prompt_per_million: 2, completion_per_million: 3}}\n"
        "  c: {kind: openai}\n  d: {kind: offline}\n"
    )
    settings = settings_of(text)
    known = settings.prices(bind(settings, spec("aoai", "b", "d"), env={}))
    assert known is not None
    assert (known.prompt_per_million, known.completion_per_million) == (2, 4)
    assert settings.prices(bind(settings, spec("aoai", "c"), env={})) is None
    assert settings.prices(bind(settings, spec("d"), env={})) is None


WORKSPACE = """\
azure:
  subscription_id: {env: SUBSCRIPTION_ID}
  resource_group: group
  workspace: space
  credential: {kind: cli}
connections:
  aoai: {kind: workspace, name: my-aoai, model_deployment: gpt}
"""
SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"


def test_a_workspace_connection_is_bound_by_its_names(settings_of):
    binding = bind(settings_of(WORKSPACE), spec("aoai"), env={"SUBSCRIPTION_ID": SUBSCRIPTION})
    found = dict(binding.connections["aoai"])
    assert found.pop("subscription") not in ("", SUBSCRIPTION)
    assert found == {"kind": "workspace", "name": "my-aoai", "workspace": "group/space", "model_deployment": "gpt"}
    assert SUBSCRIPTION not in repr(binding)


def test_another_connection_model_or_workspace_is_another_binding(settings_of):
    changes = [("my-aoai", "other"), ("gpt", "gpt-4"), ("space\n", "spice\n"), ("group: g", "group: h")]
    texts = [WORKSPACE, *(WORKSPACE.replace(*change) for change in changes)]
    env = {"SUBSCRIPTION_ID": SUBSCRIPTION}
    hashes = [bind(settings_of(text), spec("aoai"), env=env).binding_hash for text in texts]
    hashes.append(
        bind(settings_of(WORKSPACE), spec("aoai"), env={"SUBSCRIPTION_ID": SUBSCRIPTION[:-1] + "2"}).binding_hash
    )
    assert len(set(hashes)) == len(hashes) == 6
    same = [bind(settings_of(WORKSPACE + more), spec("aoai"), env=env) for more in ("", "allow_dirty: true\n")]
    assert same[0] == same[1]


def test_a_workspace_whose_subscription_is_not_set(settings_of):
    with pytest.raises(ConfigurationError, match=r"^config/dev\.yaml:2:azure\.subscription_id: .* is not set"):
        bind(settings_of(WORKSPACE), spec("aoai"), env={})
