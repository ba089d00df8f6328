"""`sluice doctor`: what is wrong, with its cure."""

from __future__ import annotations

import re
import socket
import subprocess
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from small_project import write

from orchestration.steps import doctor_machine
from orchestration.steps.doctor import Level
from orchestration.steps.doctor_project import frozen_images, retirement


def checks(answer) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for check in answer.data["checks"]:
        found.setdefault(check["name"], []).append(check)
    return found


def test_a_clean_project_has_no_fail(sluice, project) -> None:
    answer = sluice("doctor", "--json")
    assert answer.code == 0, answer.out
    assert answer.data["ok"] is True
    found = checks(answer)
    assert {"python", "uv", "disk", "packages", "config", "flow tiny", "ports", "prefect"} <= set(found)
    assert "0 FAIL" in sluice("doctor").out
    assert not project.state.exists()


def test_a_built_runtime_is_asked_for_the_mapping(sluice, project) -> None:
    sluice("evaluate", "tiny")
    run = project.flow / "run.yml"
    run.write_text(run.read_text() + "  nobody: ${data.question}\n")
    answer = sluice("doctor", "--json")
    assert answer.code == 64
    [flow] = checks(answer)["flow tiny"]
    assert flow["level"] == "FAIL"
    assert "flows/tiny/run.yml:5:column_mapping.nobody" in flow["message"]
    assert "nobody" in flow["message"]


def test_an_input_that_nothing_fills_is_found_from_the_files(sluice, project) -> None:
    dag = """
    inputs:
      question: {type: string}
      tone: {type: string}
    outputs: {answer: {type: string, reference: "${shout.output}"}}
    nodes: [{name: shout, type: python, source: {type: code, path: shout.py}, inputs: {}}]
    """
    base = project.root / "config/base.yaml"
    base.write_text(re.sub("runtimes_folder: .*", "runtimes_folder: not-built-yet", base.read_text()))
    (project.flow / "callable.toml").unlink()
    write(project.flow / "flow.dag.yaml", dag)
    [flow] = checks(sluice("doctor", "--json"))["flow tiny"]
    assert flow["level"] == "FAIL"
    assert "tone" in flow["message"]


def test_configuration_at_fault_is_64(sluice, project) -> None:
    write(project.root / "config/dev.yaml", "rollout: {kep: 1}\n")
    answer = sluice("doctor", "--json")
    assert answer.code == 64
    [config] = checks(answer)["config"]
    assert config["message"].startswith("config/dev.yaml:1:rollout.kep")
    assert sluice("doctor", "-e", "dev").code == 64


def test_a_connection_without_key(sluice, project) -> None:
    entry = "connections: {aoai: {kind: openai, api_key: {env: NO_SUCH_KEY}}}\n"
    project.root.joinpath("config/local.yaml").write_text(entry)
    [connection] = checks(sluice("doctor", "--json"))["connection"]
    assert connection["level"] == "FAIL"
    assert "NO_SUCH_KEY" in connection["message"]


def test_an_env_file_that_others_read_or_git_takes(sluice, project) -> None:
    env = project.root / ".env"
    write(env, "X=1\n")
    env.chmod(0o644)
    assert checks(sluice("doctor", "--json"))[".env"][0]["cure"] == "chmod 600 .env"
    env.chmod(0o600)
    assert checks(sluice("doctor", "--json"))[".env"][0]["level"] == "OK"
    subprocess.run(["git", "init", "--quiet", "."], cwd=project.root, check=True)
    assert ".gitignore" in checks(sluice("doctor", "--json"))[".env"][0]["cure"]


def test_a_state_folder_that_is_open_to_others(sluice, project) -> None:
    project.state.mkdir(mode=0o755)
    [state] = checks(sluice("doctor", "--json"))["state"]
    assert (state["level"], state["cure"]) == ("WARN", "chmod 700 .sluice")


def test_answers_are_kept_where_others_cannot_read_them(sluice, project) -> None:
    sluice("evaluate", "tiny")
    assert checks(sluice("doctor", "--json"))["state"][0]["level"] == "OK"


def test_a_port_in_use(sluice, project, free_port) -> None:
    project.root.joinpath("config/local.yaml").write_text(f"endpoint: {{port: {free_port}}}\n")
    assert checks(sluice("doctor", "--json"))["ports"][0]["level"] == "OK"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        answer = sluice("doctor", "--json")
    assert answer.code == 1
    [port] = checks(answer)["ports"]
    assert (port["level"], port["cure"]) == ("FAIL", "Choose another, or 0 for any free one.")


def test_a_prefect_server_that_does_not_answer(sluice, project, free_port, monkeypatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port}/api")
    answer = sluice("doctor", "--json")
    assert answer.code == 1
    [server] = checks(answer)["prefect"]
    assert "does not answer" in server["message"]
    assert "PREFECT_API_URL" in server["cure"]


def test_a_prefect_server_on_this_machine_is_not_asked_through_a_web_proxy(sluice, project, monkeypatch) -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'"3.8"')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server, socket.create_server(("127.0.0.1", 0)) as proxy:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "")
        [check] = checks(sluice("doctor", "--json"))["prefect"]
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
        server.shutdown()
    assert check["level"] == "OK", check
    assert asked[0] == "/api/admin/version"


def test_templates_without_a_sandbox(sluice, project, monkeypatch) -> None:
    monkeypatch.setenv("PF_USE_SANDBOX_FOR_JINJA", "false")
    answer = sluice("doctor", "--json")
    assert answer.code == 1
    assert checks(answer)["sandbox"][0]["cure"] == "unset PF_USE_SANDBOX_FOR_JINJA"


def test_a_frozen_image_is_named_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "deployments").mkdir()
    write(
        tmp_path / "deployments" / "blue.yaml",
        "name: blue\nimage: mcr.microsoft.com/azureml/promptflow/promptflow-runtime-stable:20230808.v1\n",
    )
    [found] = frozen_images(tmp_path)
    assert found.level is Level.WARN
    assert found.message.startswith(
        "deployments/blue.yaml:2: mcr.microsoft.com/azureml/promptflow/promptflow-runtime-stable"
    )


def test_no_deployment_no_image(tmp_path: Path) -> None:
    assert [each.level for each in frozen_images(tmp_path)] == [Level.OK]


@pytest.mark.parametrize(
    ("today", "level", "said"),
    [
        (date(2026, 10, 21), Level.OK, "in 181 days"),
        (date(2026, 10, 22), Level.WARN, "in 180 days"),
        (date(2027, 4, 21), Level.WARN, "read-only since 2027-04-20"),
    ],
)
def test_the_retirement_of_prompt_flow(today, level, said) -> None:
    found = retirement(["promptflow"], today=today)
    assert (found.level, said in found.message) == (level, True)
    assert retirement(["callable"], today=today).level is Level.OK


@pytest.mark.parametrize(
    ("version", "system", "level"),
    [((3, 11), "Linux", Level.OK), ((3, 10), "Linux", Level.FAIL), ((3, 13), "Windows", Level.FAIL)],
)
def test_python_and_system(version, system, level) -> None:
    assert doctor_machine.python(version, system).level is level


def test_versions_against_pins() -> None:
    wrong = ["pytest<2", "no-such-package-at-all", "pytest>=9; python_version < '3'", "pytest>2"]
    found = [(each.level, each.message) for each in doctor_machine.packages(wrong)]
    assert [level for level, _ in found] == [Level.FAIL, Level.FAIL]
    assert "<2 is wanted" in found[0][1]
    assert "not installed" in found[1][1]
    assert [each.level for each in doctor_machine.packages(["pytest>2"])] == [Level.OK]


def test_little_room(tmp_path: Path, monkeypatch) -> None:
    for free, level in ((2**40, Level.OK), (2**30, Level.WARN), (2**28, Level.FAIL)):
        monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda _, free=free: type("U", (), {"free": free}))
        assert doctor_machine.disk(tmp_path / "not" / "there").level is level
