"""The entry point: help, version, errors as one line and one object, exit codes."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.cli.main import COMMANDS
from orchestration.cli.reply import Exit, Reply

entry = importlib.import_module("orchestration.cli.main")  # the package exports its function under the same name
GROUPS = {
    "endpoint": ("list", "start", "stop", "delete"),
    "connections": ("list", "show", "create", "check"),
    "config": ("show", "check"),
}
ALL = [(name,) for name in COMMANDS] + [(name, each) for name, each_of in GROUPS.items() for each in each_of]


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_every_help_shows_an_example(sluice, command) -> None:
    answer = sluice(*command, "--help")
    assert answer.code == 0
    assert "Example: sluice" in answer.out


def test_alone_it_prints_help(sluice) -> None:
    answer = sluice()
    assert answer.code == 0
    assert all(name in answer.out for name in COMMANDS)


def test_version(sluice) -> None:
    answer = sluice("--version")
    assert answer.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", answer.out.strip())


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from orchestration.cli.main import main; main(['--help']);"
        "heavy = {'prefect', 'mlflow', 'aiohttp', 'pydantic', 'ruamel'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rn"], "there is no command 'rn'. Did you mean 'run'?"),
        (["endpoint", "lst"], "there is no command 'endpoint lst'. Did you mean 'list'?"),
        (["plan", "--bogus"], "Unknown option: --bogus. Try: sluice plan --help"),
        (["new"], "requires an argument"),
    ],
)
def test_wrong_usage_is_one_line_and_64(sluice, arguments, said) -> None:
    answer = sluice(*arguments)
    assert answer.code == Exit.USAGE
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert answer.out == ""


def test_wrong_usage_with_json_is_one_object(sluice) -> None:
    data = sluice("rn", "--json").data
    assert data == {"error": {"message": "there is no command 'rn'.", "cure": "Did you mean 'run'?"}, "exit": 64}


def test_a_bug_shows_its_traceback_and_still_gives_one_object(sluice, monkeypatch) -> None:
    def broken(given):
        raise ValueError("no such thing")

    monkeypatch.setattr(entry, "_call", broken)
    answer = sluice("plan", "--json")
    assert answer.code == Exit.ERROR
    assert answer.data["error"]["message"] == "ValueError: no such thing"
    assert "Traceback" in answer.err


def test_an_answer_that_no_terminal_can_show_is_still_json(sluice, monkeypatch) -> None:
    answer = {"half": "\ud83d", "nan": [float("nan"), 1.5], "inf": {"x": float("inf")}, "text": "é→"}
    monkeypatch.setattr(entry, "_call", lambda _: Reply("\ud83d é", answer))
    assert sluice("status", "--json").data == {"half": "\ud83d", "nan": [None, 1.5], "inf": {"x": None}, "text": "é→"}
    assert sluice("status").out == "\\ud83d é\n"


def test_a_terminal_that_knows_few_letters_gets_the_others_spelled_out() -> None:
    code = (
        "import importlib, json; from orchestration.cli.reply import Reply;"
        "main = importlib.import_module('orchestration.cli.main');"
        "main._call = lambda _: Reply('', {'text': 'é→'}); raise SystemExit(main.main(['status', '--json']))"
    )
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.decode("latin-1")) == {"text": "é→"}


def test_interrupted_is_130(sluice, monkeypatch) -> None:
    def interrupted(given):
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "_call", interrupted)
    answer = sluice("run", "--json")
    assert answer.code == Exit.INTERRUPTED
    assert answer.data["exit"] == 130


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    argv = f"{Path(sys.executable).parent / 'sluice'} --help | true"
    done = subprocess.run(["sh", "-c", argv], capture_output=True, text=True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", [["plan"], ["test"], ["evaluate"], ["config", "show"], ["doctor"], ["run"]], ids=" ".join
)
def test_an_unknown_environment_names_the_nearest(sluice, project, command) -> None:
    answer = sluice(*command, "-e", "prd", "--json")
    assert answer.code == Exit.USAGE
    assert answer.data["error"]["cure"] == "Did you mean 'prod'?"
    assert not project.state.exists()


@pytest.mark.parametrize("command", ["plan", "test", "evaluate", "run", "invoke", "logs", "rollback"])
def test_an_unknown_prompt_flow_names_the_nearest(sluice, project, command) -> None:
    answer = sluice(command, "tinny", "--json")
    assert answer.code == Exit.USAGE
    assert "Did you mean 'tiny'?" in answer.data["error"]["cure"]
    assert not project.state.exists()


def test_outside_of_a_project_it_says_so(sluice, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = sluice("plan")
    assert answer.code == Exit.USAGE
    assert "config/base.yaml" in answer.err


def test_the_table_of_exit_codes_is_the_enumeration() -> None:
    page = Path(__file__).parents[2].joinpath("docs/exit-codes.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", page, re.MULTILINE))
    assert rows == {str(code.value): code.name for code in Exit}
