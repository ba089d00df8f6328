from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.errors import ConfigurationError
from orchestration.settings import find_root, list_environments, load_settings, parse_overrides

REPOSITORY = Path(__file__).parents[2]


def test_root_is_found_from_a_folder_below_it(root):
    below = root / "flows" / "demo"
    below.mkdir(parents=True)
    assert find_root(below) == root


def test_no_root_says_what_was_looked_for(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no config/base\.yaml .* Change into your project's folder"):
        find_root(tmp_path)


def test_each_layer_wins_over_the_one_below_and_is_named(settings_of):
    settings = settings_of(
        "evaluation: {in_flight: 8}\nrollout: {probes: 2}\ngate: {min_rows: 3}\n",
        block={"rollout": {"probes": 3}, "gate.min_rows": 4},
        command_line={"gate.min_rows": 5},
    )
    assert (settings.evaluation.in_flight, settings.rollout.probes, settings.gate.min_rows) == (8, 3, 5)
    assert settings.rollout.steps == (10, 50, 100)
    assert settings.sources["gate.min_rows"] == "command line"
    assert settings.sources["rollout.probes"] == "block sluice-environment/dev"
    assert settings.sources["evaluation.in_flight"] == "config/dev.yaml"
    assert settings.sources["rollout.steps"] == "config/base.yaml"
    assert settings.sources["place"] == "default"


def test_every_value_has_a_source(settings_of):
    settings = settings_of()
    assert settings.sources.keys() >= {"connections.aoai.kind", "prefect.port", "evaluate_only"}


def test_a_connection_that_names_its_kind_replaces_the_one_below(root, settings_of):
    (root / "config" / "base.yaml").write_text(
        "connections:\n  aoai:\n    kind: azure_openai\n    api_base: https://a.example\n    requests_per_minute: 5\n"
    )
    replaced = settings_of("connections: {aoai: {kind: openai, model_deployment: m}}\n").connections["aoai"]
    assert (replaced.api_base, replaced.requests_per_minute) == (None, None)
    changed = settings_of("connections: {aoai: {requests_per_minute: 9}}\n").connections["aoai"]
    assert (changed.api_base, changed.requests_per_minute) == ("https://a.example", 9)


def test_folders_are_absolute_and_nothing_is_created(root, settings_of):
    settings = settings_of("state_folder: made/state\n")
    assert (settings.state, settings.runtimes) == (root / "made/state", root / "made/state/runtimes")
    assert settings_of("runtimes_folder: /var/tmp/x\n").runtimes == Path("/var/tmp/x")
    assert not (root / "made").exists()


def test_a_date_is_the_text_it_was_written_as(settings_of):
    text = "connections: {aoai: {kind: azure_openai, api_base: https://a.example, api_version: 2024-10-21}}\n"
    assert settings_of(text).connections["aoai"].api_version == "2024-10-21"


def test_overrides_are_read_as_yaml():
    assert parse_overrides(["rollout.keep=0", "a.b=x=y", "evaluate_only=true"]) == {
        "rollout.keep": 0,
        "a.b": "x=y",
        "evaluate_only": True,
    }
    with pytest.raises(ConfigurationError, match=r"found 'rollout\.keep', expected key=value"):
        parse_overrides(["rollout.keep"])


@pytest.mark.parametrize("environment", ["local", "pr", "dev", "qa", "prod"])
def test_every_shipped_environment_loads_and_works_offline(environment):
    settings = load_settings(REPOSITORY, environment)
    assert settings.platform == "local"
    assert {connection.kind for connection in settings.connections.values()} == {"offline"}


def test_shipped_environments_are_what_they_promise():
    assert list_environments(REPOSITORY) == ["dev", "local", "pr", "prod", "qa"]
    assert load_settings(REPOSITORY, "pr").evaluate_only
    assert not load_settings(REPOSITORY, "prod").allow_dirty
