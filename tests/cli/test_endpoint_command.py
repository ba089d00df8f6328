"""`sluice endpoint`: nothing is deleted unasked, and what was ended comes back."""

from __future__ import annotations

import io

import pytest

from orchestration.platforms.local.desired import DesiredEndpoint
from orchestration.platforms.local.folder import EndpointFolder

NAME = "tiny-dev"


@pytest.fixture
def endpoint(project):
    """An endpoint without deployments whose gateway does not run, as after a reboot."""
    folder = EndpointFolder.of(project.state, NAME)
    project.state.mkdir()
    folder.create(DesiredEndpoint(NAME, {"sluice": "1", "environment": "dev", "prompt_flow": "tiny"}))
    return folder


@pytest.fixture
def terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def say(text: str) -> None:
        monkeypatch.setattr("sys.stdin", Terminal(text))

    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    return say


def test_list_shows_all_environments_or_one(sluice, endpoint) -> None:
    found = sluice("endpoint", "list", "--json").data["endpoints"]
    assert [(each["name"], each["environment"], each["state"]) for each in found] == [(NAME, "dev", "Stopped")]
    assert sluice("endpoint", "list", "-e", "local", "--json").data == {"endpoints": []}
    assert NAME in sluice("endpoint", "list", "-e", "dev").out


def test_list_of_nothing_says_what_to_do(sluice, project) -> None:
    assert "sluice run" in sluice("endpoint", "list").out
    assert not project.state.exists()


def test_delete_without_a_terminal_needs_yes(sluice, endpoint, terminal) -> None:
    answer = sluice("endpoint", "delete", NAME, "-e", "dev", "--json")
    assert answer.code == 64
    assert answer.data["error"]["cure"] == "Add --yes."
    assert "Registered versions and decisions stay." in answer.err
    assert endpoint.load() is not None


@pytest.mark.parametrize("said", ["n\n", "\n", ""])
def test_anything_but_yes_changes_nothing(sluice, endpoint, terminal, said) -> None:
    terminal(said)
    answer = sluice("endpoint", "delete", NAME, "-e", "dev", "--json")
    assert answer.code == 1
    assert answer.data["deleted"] is False
    assert endpoint.load() is not None


def test_yes_on_the_terminal_deletes(sluice, endpoint, terminal) -> None:
    terminal("y\n")
    assert sluice("endpoint", "delete", NAME, "-e", "dev").code == 0
    assert endpoint.load() is None


def test_yes_as_an_option_deletes_by_the_prompt_flows_name(sluice, endpoint, terminal) -> None:
    answer = sluice("endpoint", "delete", "tiny", "-e", "dev", "--yes", "--json")
    assert answer.data == {"endpoint": NAME, "deployments": [], "deleted": True}
    assert endpoint.load() is None


def test_a_deletion_waits_for_no_release(sluice, endpoint, terminal) -> None:
    from orchestration.platforms.local.hold import held

    with held(endpoint, "release of somebody"):
        answer = sluice("endpoint", "delete", NAME, "-e", "dev", "--yes")
    assert answer.code == 1
    assert "release of somebody" in answer.err
    assert endpoint.load() is not None


@pytest.mark.parametrize("command", ["delete", "start", "stop"])
def test_an_unknown_endpoint(sluice, endpoint, command) -> None:
    answer = sluice("endpoint", command, "tiny-dv", "-e", "dev", "--json")
    assert answer.code == 64
    assert "Did you mean 'tiny-dev'?" in answer.data["error"]["cure"]


def test_a_prompt_flow_without_endpoint_says_how_to_get_one(sluice, project) -> None:
    answer = sluice("endpoint", "delete", "tiny", "--json")
    assert answer.code == 64
    assert answer.data["error"]["cure"] == "Next: sluice run tiny -e local"


def test_stop_of_what_does_not_run(sluice, endpoint) -> None:
    assert sluice("endpoint", "stop", "--json").data == {"ended": []}


@pytest.mark.real
def test_start_and_stop_one(sluice, endpoint) -> None:
    try:
        answer = sluice("endpoint", "start", "--json")
        assert answer.code == 0
        assert [(each["name"], each["state"]) for each in answer.data["endpoints"]] == [(NAME, "Succeeded")]
        assert answer.data["problems"] == {}
    finally:
        stopped = sluice("endpoint", "stop", "tiny", "-e", "dev", "--json")
    assert stopped.data == {"ended": [NAME]}
    assert sluice("endpoint", "list", "--json").data["endpoints"][0]["state"] == "Stopped"
