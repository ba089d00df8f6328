"""`sluice connections create` where a workspace keeps the connection: made, rotated, named; never a key in a file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from azure_emulator.machine_learning import types
from azure_emulator.machine_learning.connections import secrets_of
from release_project import ReleaseProject

from orchestration.cli.main import main
from orchestration.platforms.azure import connections
from orchestration.settings import load_settings

BASE = "https://team.openai.azure.com"
CREATE = ("create", "aoai", "-e", "dev", "--yes", "--json")
ADDRESS = ("--api-base", BASE, "--model", "gpt-4o-mini")
Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def call(project: ReleaseProject, monkeypatch, capfd) -> Call:
    """`sluice connections …` in the project, with this on standard input: exit code and what it printed."""
    monkeypatch.chdir(project.root)

    def run(*arguments: str, typed: str = "") -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        capfd.readouterr()
        code = main(["connections", *arguments])
        printed = capfd.readouterr()
        assert "canary" not in printed.out + printed.err
        return code, json.loads(printed.out)

    return run


def kept(project: ReleaseProject, name: str = "aoai") -> dict[str, Any]:
    """The connection as the workspace has it, secrets apart."""
    resource = project.cloud.arm.peek(f"{project.workspace.id}/connections/{name}")
    assert resource is not None
    return {**resource.properties, "credentials": secrets_of(resource)}


def config(project: ReleaseProject) -> str:
    return (project.root / "config" / "dev.yaml").read_text()


def test_it_is_made_in_the_workspace_and_named_in_the_settings(project: ReleaseProject, call: Call) -> None:
    code, said = call(*CREATE, *ADDRESS, "--key-stdin", typed="canary-1\n")
    assert (code, said["written"], said["rotated"]) == (0, True, False)
    made = kept(project)
    assert (made["category"], made["target"], made["credentials"]) == ("AzureOpenAI", BASE, {"key": "canary-1"})
    entry = load_settings(project.root, "dev").connections["aoai"]
    assert (entry.kind, entry.name, entry.model_deployment) == ("workspace", "aoai", "gpt-4o-mini")
    assert not (project.root / ".env").exists()
    assert "canary" not in config(project)
    code, said = call("check", "aoai", "-e", "dev", "--json")
    assert (code, said["name"]) == (0, "aoai")


def test_rotating_changes_the_key_and_nothing_else(project: ReleaseProject, call: Call) -> None:
    call(*CREATE, *ADDRESS, "--api-version", "2024-06-01", "--key-stdin", typed="canary-1\n")
    text = f"# kept\n{config(project)}    prices: {{prompt_per_million: 1, completion_per_million: 2}}\n"
    (project.root / "config" / "dev.yaml").write_text(text)
    code, said = call(*CREATE, "--key-stdin", typed="canary-2\n")
    assert (code, said["rotated"]) == (0, True)
    made = kept(project)
    assert (made["credentials"], made["target"], made["metadata"]["ApiVersion"]) == (
        {"key": "canary-2"},
        BASE,
        "2024-06-01",
    )
    assert config(project) == text


def test_an_address_changes_and_the_key_stays(project: ReleaseProject, call: Call) -> None:
    call(*CREATE, *ADDRESS, "--key-stdin", typed="canary-1\n")
    code, _ = call(*CREATE, "--api-base", "https://other.openai.azure.com")
    assert code == 0
    assert (kept(project)["target"], kept(project)["credentials"]["key"]) == (
        "https://other.openai.azure.com",
        "canary-1",
    )


def test_another_model_is_written_beside_what_there_is(project: ReleaseProject, call: Call) -> None:
    entry = "connections:\n  aoai:\n    kind: workspace\n    name: team-aoai   # ours\n    requests_per_minute: 5\n"
    project.configure(connections=entry)
    connections.create(project.settings, "team-aoai", kind="azure_openai", base_url=BASE, key="canary-1")
    code, said = call(*CREATE, "--model", "gpt-4o")
    assert (code, said["connection"]) == (0, "team-aoai")
    found = load_settings(project.root, "dev").connections["aoai"]
    assert (found.name, found.model_deployment, found.requests_per_minute) == ("team-aoai", "gpt-4o", 5)


def test_without_a_key_callers_sign_in(project: ReleaseProject, call: Call) -> None:
    code, _ = call(*CREATE, *ADDRESS, "--entra")
    assert (code, kept(project)["authType"], kept(project)["credentials"]) == (0, "AAD", {})
    assert call("check", "aoai", "-e", "dev", "--json")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        ((*CREATE, "--key-stdin"), "canary\n", "Azure OpenAI needs an address."),
        ((*CREATE, "--api-base", "http://team.openai.azure.com", "--key-stdin"), "canary\n", "clear text"),
        ((*CREATE, *ADDRESS), "", "there is no terminal to ask on"),
        ((*CREATE, *ADDRESS, "--key-stdin"), "\n", "is empty"),
        ((*CREATE, "--kind", "offline"), "", "can't use a connection of kind offline"),
        (("create", "ao", "-e", "dev", "--yes", "--json", *ADDRESS, "--entra"), "", "expected 3 to 33 letters"),
        (("create", "Aoai", "-e", "dev", "--yes", "--json", *ADDRESS, "--entra"), "", "is no name of a connection"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_written(
    project: ReleaseProject, call: Call, arguments, typed, said
) -> None:
    before, text = project.writes, config(project)
    code, answer = call(*arguments, typed=typed)
    assert (code, said in answer["error"]["message"]) == (64, True), answer
    assert (project.writes, config(project)) == (before, text)


def test_custom_keys_of_somebody_are_left_alone(project: ReleaseProject, call: Call) -> None:
    connections.create(project.settings, "aoai", kind="custom", values={"a": "b"}, secrets={"k": "canary-1"})
    before = project.writes
    code, answer = call(*CREATE, *ADDRESS, "--entra")
    assert (code, "holds custom keys" in answer["error"]["message"]) == (64, True)
    assert project.writes == before


def test_nothing_is_written_without_a_yes(project: ReleaseProject, call: Call) -> None:
    before = project.writes
    code, answer = call("create", "aoai", "-e", "dev", "--json", *ADDRESS, "--entra")
    assert (code, "--yes" in answer["error"]["cure"], project.writes) == (64, True, before)
    assert project.cloud.arm.below(project.workspace.id, types.CONNECTION) == []


def test_elsewhere_there_is_no_signing_in(project: ReleaseProject, call: Call) -> None:
    (project.root / "config" / "local.yaml").write_text("{}\n")
    code, answer = call("create", "aoai", "-e", "local", "--yes", "--json", *ADDRESS, "--entra")
    assert (code, "platform: azure" in answer["error"]["message"]) == (64, True)


def test_a_list_says_where_it_is_without_asking(project: ReleaseProject, call: Call) -> None:
    project.configure(connections="connections:\n  aoai: {kind: workspace, name: team-aoai}\n")
    project.cloud.exchanges.clear()
    code, said = call("list", "-e", "dev", "--json")
    [row] = said["connections"]
    assert (code, row["address"], row["key"], row["resolves"]) == (0, "team/studio/team-aoai", "the workspace", True)
    assert project.cloud.exchanges == []
