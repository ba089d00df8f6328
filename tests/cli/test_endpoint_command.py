"""`sluice endpoint`: nothing is deleted unasked, and what was ended comes back."""

from __future__ import annotations

import io
import socket

import pytest

from orchestration.platforms.local.desired import Deployment, DesiredEndpoint, ServerSpec
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.values import Binding, ModelVersion

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


@pytest.fixture
def damaged(project):
    """An endpoint whose state can't be read; nobody knows of which environment."""
    folder = EndpointFolder.of(project.state, "tiny-local")
    project.state.mkdir(exist_ok=True)
    folder.create(DesiredEndpoint("tiny-local", {"sluice": "1", "environment": "local", "prompt_flow": "tiny"}))
    folder.state_file.write_text('{"format": 1, "na')
    return folder


CURE = "sluice endpoint delete tiny-local --yes"


@pytest.mark.parametrize("arguments", [[], ["-e", "dev"], ["-e", "local"]], ids=" ".join)
def test_a_damaged_endpoint_is_listed_once_beside_the_others(sluice, endpoint, damaged, arguments) -> None:
    found = {each["name"]: each for each in sluice("endpoint", "list", *arguments, "--json").data["endpoints"]}
    assert found["tiny-local"]["state"] == "Damaged"
    assert CURE in found["tiny-local"]["message"]
    assert (NAME in found) == (arguments != ["-e", "local"])
    text = sluice("endpoint", "list", *arguments).out
    assert text.count("Damaged") == 1
    assert CURE in text


@pytest.mark.parametrize("environment", ["local", "dev"])
def test_status_and_doctor_name_a_damaged_endpoint(sluice, endpoint, damaged, environment) -> None:
    found = sluice("status", "-e", environment, "--json").data["endpoints"]
    assert "Damaged" in [each["state"] for each in found]
    answer = sluice("doctor", "-e", environment, "--json")
    assert answer.code == 1
    [check] = [each for each in answer.data["checks"] if each["level"] == "FAIL"]
    assert (check["name"], CURE in check["message"]) == ("endpoint", True)


def test_what_needs_a_damaged_endpoint_says_so_before_anything_else(sluice, damaged) -> None:
    for command in ("run", "plan", "invoke", "logs", "rollback"):
        answer = sluice(command, "tiny", "--json")
        assert answer.code == 1, command
        assert CURE in answer.data["error"]["cure"], command
        assert len(answer.err.splitlines()) == 1, command
    assert not damaged.path.parents[1].joinpath("rows.sqlite").exists()
    assert not damaged.path.parents[1].joinpath("prefect").exists()


def test_what_does_not_need_it_goes_on(sluice, endpoint, damaged) -> None:
    assert sluice("plan", "tiny", "-e", "dev", "--json").code == 0
    answer = sluice("endpoint", "start", "-e", "dev", "--json")
    try:
        assert answer.code == 1
        assert list(answer.data["problems"]) == ["tiny-local"]
        assert CURE in answer.data["problems"]["tiny-local"]
        states = {each["name"]: each["state"] for each in answer.data["endpoints"]}
        assert states == {NAME: "Succeeded", "tiny-local": "Damaged"}
    finally:
        sluice("endpoint", "stop", "tiny", "-e", "dev")


@pytest.mark.parametrize("named", ["tiny-local", "tiny"])
def test_a_damaged_endpoint_is_deleted(sluice, damaged, named) -> None:
    answer = sluice("endpoint", "delete", named, "--yes", "--json")
    assert answer.code == 0
    assert answer.data == {"endpoint": "tiny-local", "deployments": [], "deleted": True}
    assert "can't be read" in answer.err
    assert not damaged.path.exists()
    assert sluice("endpoint", "list", "--json").data == {"endpoints": []}


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


def test_a_port_that_is_taken_is_refused_before_anything_is_paid_for(sluice, project, free_port) -> None:
    project.root.joinpath("config/local.yaml").write_text(f"allow_dirty: true\nendpoint: {{port: {free_port}}}\n")
    with socket.create_server(("127.0.0.1", free_port)):
        for command in ("run", "plan"):
            answer = sluice(command, "tiny", "--json")
            assert answer.code == 64, command
            assert answer.data["error"]["message"].startswith(
                f"config/local.yaml:2:endpoint.port: 127.0.0.1:{free_port} "
            )
            assert "endpoint.port" in answer.data["error"]["cure"]
    assert not project.state.joinpath("rows.sqlite").exists()
    assert not project.state.joinpath("prefect").exists()
    assert sluice("plan", "tiny", "--json").code == 0


def test_a_port_that_the_endpoint_itself_listens_on_is_fine(sluice, project, endpoint, free_port) -> None:
    project.root.joinpath("config/dev.yaml").write_text(f"allow_dirty: true\nendpoint: {{port: {free_port}}}\n")
    assert sluice("endpoint", "start", "tiny", "-e", "dev", "--json").code == 0
    try:
        assert sluice("plan", "tiny", "-e", "dev", "--json").code == 0
        [check] = [each for each in sluice("doctor", "-e", "dev", "--json").data["checks"] if each["name"] == "ports"]
        assert (check["level"], check["message"]) == ("OK", f"endpoint.port {free_port} is in use by endpoint {NAME}")
        project.root.joinpath("config/base.yaml").write_text("default_prompt_flow: other\n")
        [check] = [each for each in sluice("doctor", "-e", "dev", "--json").data["checks"] if each["name"] == "ports"]
        assert (check["level"], "not by that of other" in check["message"]) == ("FAIL", True)
    finally:
        sluice("endpoint", "stop", NAME, "-e", "dev")


def test_a_port_matters_not_where_nothing_is_released(sluice, project, free_port) -> None:
    project.root.joinpath("config/pr.yaml").write_text(f"evaluate_only: true\nendpoint: {{port: {free_port}}}\n")
    with socket.create_server(("127.0.0.1", free_port)):
        assert sluice("plan", "tiny", "-e", "pr", "--json").code == 0


def test_logs_of_a_deployment_that_there_is_not_name_those_there_are(sluice, project, endpoint) -> None:
    spec = ServerSpec("/flow", "/python", None, ModelVersion("tiny", "1", "c", "d"), Binding("dev", {}, "b"))
    endpoint.save(endpoint.load().put(Deployment("blue", spec, {"sluice": ""}, state="Succeeded")))
    answer = sluice("logs", "tiny", "-e", "dev", "--deployment", "blu", "--json")
    assert answer.code == 64
    assert answer.data["error"]["cure"] == "Did you mean 'blue'?"
    assert sluice("logs", "tiny", "-e", "dev", "--deployment", "blue", "--json").data["lines"] == []
