from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.connections import answers_hash, descriptions, upstreams, workspace_connections
from orchestration.errors import ConfigurationError
from orchestration.model_proxy import Upstream
from orchestration.settings import bind, load_settings
from orchestration.specs import PromptFlowSpec
from orchestration.values import Binding

TEXT = """\
connections:
  aoai:
    kind: azure_openai
    api_base: https://a.example
    api_key: {env: AOAI_API_KEY}
    model_deployment: gpt
    requests_per_minute: 60
    prices: {prompt_per_million: 1, completion_per_million: 2}
  keyless:
    kind: openai
  ollama:
    kind: openai
    api_base: http://localhost:11434/v1
  search:
    kind: custom
    values: {index: a}
    secrets:
      key: {env: SEARCH_KEY}
  small:
    kind: offline
"""
ENV = {"AOAI_API_KEY": "canary", "SEARCH_KEY": "bird"}


@pytest.fixture
def bound(settings_of):
    """Settings, and their binding of these connections."""

    def both(*connections, text=TEXT):
        settings = settings_of(text)
        values = {"connections": connections, "gate": {}, "sample": {"inputs": {}, "answer": {}}}
        return settings, bind(settings, PromptFlowSpec.model_validate(values), env={})

    return both


def test_a_provider_gets_its_key_and_limits(bound):
    upstream = upstreams(*bound("aoai"), env=ENV)["aoai"]
    assert (upstream.kind, upstream.base_url, upstream.api_version) == (
        "azure_openai",
        "https://a.example",
        "2024-10-21",
    )
    assert (upstream.deployment, upstream.api_key, upstream.requests_per_minute) == ("gpt", "canary", 60)
    assert upstream.prices
    assert upstream.prices.completion_per_million == 2
    assert "canary" not in repr(upstream)


def test_what_is_on_this_machine_needs_no_key(bound):
    found = upstreams(*bound("ollama", "small"), env={})
    assert {name: upstream.api_key for name, upstream in found.items()} == {"ollama": None, "small": None}
    assert found["small"].kind == "offline"


def test_a_connection_without_a_key(bound):
    with pytest.raises(ConfigurationError) as error:
        upstreams(*bound("keyless"), env=ENV)
    assert str(error.value) == (
        "config/dev.yaml:9:connections.keyless.api_key: the connection 'keyless' has no key. "
        "Next: sluice connections create keyless -e dev, or set AOAI_API_KEY in .env and write "
        "api_key: {env: AOAI_API_KEY}."
    )


def test_a_key_that_is_not_set_names_the_reference(bound):
    with pytest.raises(ConfigurationError) as error:
        upstreams(*bound("aoai"), env={})
    assert str(error.value) == (
        "config/dev.yaml:5:connections.aoai.api_key: the environment variable AOAI_API_KEY is not set. "
        "Copy .env.sample to .env and set AOAI_API_KEY there."
    )
    with pytest.raises(ConfigurationError, match=r"^config/dev\.yaml:18:connections\.search\.secrets\.key: "):
        descriptions(*bound("search"), env={})


def test_runners_get_the_secrets_of_custom_connections_only(bound):
    assert descriptions(*bound("aoai", "search", "small"), env=ENV) == {
        "aoai": {"type": "llm", "model": "gpt"},
        "search": {"type": "custom", "values": {"index": "a"}, "secrets": {"key": "bird"}},
        "small": {"type": "llm", "model": None},
    }
    assert set(upstreams(*bound("aoai", "search"), env=ENV)) == {"aoai"}


def test_the_key_is_read_from_the_env_file(bound, root, monkeypatch):
    monkeypatch.delenv("AOAI_API_KEY", raising=False)
    (root / ".env").write_text("AOAI_API_KEY=from the file\n")
    assert upstreams(*bound("aoai"))["aoai"].api_key == "from the file"


def test_a_key_is_not_sent_to_the_address_of_an_old_binding(tmp_path):
    old = Binding(
        "local",
        {"aoai": {"kind": "openai", "api_base": "http://127.0.0.1:1/v1", "api_version": None, "model_deployment": "m"}},
        "x",
    )
    settings = load_settings(_project_with(tmp_path, "http://127.0.0.1:2/v1"), "local")
    with pytest.raises(
        ConfigurationError, match=r"127.0.0.1:2/v1 now; what is released was judged with openai http://127.0.0.1:1/v1"
    ):
        upstreams(settings, old)


def test_what_was_bound_is_called_even_if_the_model_is_another_today(tmp_path):
    base = "http://127.0.0.1:1/v1"
    old = Binding(
        "local", {"aoai": {"kind": "openai", "api_base": base, "api_version": None, "model_deployment": "judged"}}, "x"
    )
    settings = load_settings(_project_with(tmp_path, base, model="other"), "local")
    assert upstreams(settings, old)["aoai"].deployment == "judged"


def _project_with(root, base, model="m"):
    (root / "config").mkdir()
    entry = f"connections:\n  aoai:\n    kind: openai\n    api_base: {base}\n    model_deployment: {model}\n"
    (root / "config" / "base.yaml").write_text(entry)
    (root / "config" / "local.yaml").write_text("{}\n")
    return root


WORKSPACE = """\
azure:
  subscription_id: 00000000-0000-4000-8000-000000000001
  resource_group: group
  workspace: space
  credential: {kind: cli}
connections:
  aoai: {kind: workspace, name: my-aoai, model_deployment: gpt}
  small: {kind: offline}
"""


def test_what_a_workspace_keeps_is_left_to_its_platform(bound):
    settings, binding = bound("aoai", "small", text=WORKSPACE)
    assert set(upstreams(settings, binding, env={})) == {"small"}
    assert workspace_connections(settings, binding)["aoai"].name == "my-aoai"
    assert descriptions(settings, binding, env={})["aoai"] == {"type": "llm", "model": "gpt"}


def test_a_workspace_connection_that_was_replaced_since(bound):
    _, judged = bound("aoai", text=WORKSPACE)
    for text, said in (
        (
            WORKSPACE.replace("my-aoai", "other"),
            "workspace group/space other now; .* with workspace group/space my-aoai",
        ),
        (WORKSPACE.replace("workspace: space", "workspace: spice"), "is workspace group/spice my-aoai now"),
        ("connections: {aoai: {kind: offline}}\n", "is offline now; .* with workspace group/space my-aoai"),
    ):
        settings, _ = bound("aoai", text=text)
        with pytest.raises(ConfigurationError, match=said) as error:
            workspace_connections(settings, judged)
        assert error.value.cure.startswith("Release anew: sluice run -e dev")


def test_answers_from_two_addresses_of_one_workspace_connection_are_kept_apart(bound):
    _, binding = bound("aoai", "small", text=WORKSPACE)
    here, there = (
        {"aoai": Upstream("azure_openai", f"https://{name}.example", "v1", api_key=key), "small": Upstream("offline")}
        for name, key in (("a", "k1"), ("b", "k1"))
    )
    rotated = {**here, "aoai": replace(here["aoai"], api_key="k2")}
    custom = {**here, "aoai": {"type": "custom", "values": {"index": "a"}, "secrets": {"key": "k1"}}}
    hashes = [answers_hash(binding, each) for each in (here, rotated, there, custom)]
    assert hashes[0] == hashes[1]
    assert len({binding.binding_hash, *hashes}) == 4


def test_where_all_addresses_are_bound_the_binding_says_it_all(bound):
    settings, binding = bound("aoai", "small")
    assert answers_hash(binding, upstreams(settings, binding, env=ENV)) == binding.binding_hash
