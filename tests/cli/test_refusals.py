"""Every command, whatever is wrong: one line on stderr, with --json exactly one object with `error`, the right exit code."""

from __future__ import annotations

import errno
import importlib
import os

import pytest

from orchestration.cli.main import COMMANDS
from orchestration.cli.reply import Exit

entry = importlib.import_module("orchestration.cli.main")
GROUPS = {
    "endpoint": ("list", "start", "stop", "delete"),
    "connections": ("list", "show", "create", "check"),
    "config": ("show", "check"),
}
# What each needs to be called at all, and what is refused in a project without a release: code, arguments.
NEEDED = {
    "new": ("other",),
    "endpoint delete": ("tiny",),
    "connections show": ("aoai",),
    "connections create": ("aoai",),
    "connections check": ("aoai",),
}
REFUSED = [
    (64, "run", "tinny"),
    (64, "run", "--set", "rollout.kep=1"),
    (64, "run", "-e", "prod"),
    (64, "evaluate", "--data", "nowhere.jsonl"),
    (64, "evaluate", "--commit", "0000000"),
    (64, "plan", "-e", "nowhere"),
    (64, "plan", "-e"),
    (64, "test", "--row", "nothing"),
    (64, "test", "--inputs", "{"),
    (1, "invoke", "tiny"),
    (64, "invoke", "--inputs", "[]"),
    (1, "logs", "tiny"),
    (64, "logs", "--deployment", "nope"),
    (64, "logs", "--lines", "0"),
    (64, "logs", "--lines", "many"),
    (1, "rollback", "tiny"),
    (64, "status", "-e", "nowhere"),
    (64, "endpoint", "list", "-e", "nowhere"),
    (64, "endpoint", "start", "nope"),
    (64, "endpoint", "stop", "nope"),
    (64, "endpoint", "delete", "nope", "--yes"),
    (64, "connections", "list", "-e", "nowhere"),
    (64, "connections", "show", "nope"),
    (64, "connections", "create", "aoai", "--kind", "nope"),
    (64, "connections", "create", "aoai"),
    (64, "connections", "check", "nope"),
    (64, "config", "show", "nope"),
    (64, "config", "check", "surplus"),
    (64, "new", "tiny"),
    (64, "new"),
    (64, "up", "-e", "nowhere"),
    (64, "down", "-e", "nowhere"),
    (64, "doctor", "-e", "nowhere"),
    (64, "endpoint"),
    (64, "endpoint", "lst"),
    (64, "nope"),
    (64,),
]


def leaves() -> list[str]:
    return [name for each in COMMANDS for name in ([f"{each} {below}" for below in GROUPS.get(each, ())] or [each])]


def check(answer, code: int) -> None:
    assert answer.code == code
    assert answer.data["exit"] == code  # `data` asserts that there is one line on stdout
    assert set(answer.data) == {"error", "exit"}
    assert set(answer.data["error"]) == {"message", "cure"}
    message, cure = answer.data["error"].values()
    assert message
    *progress, last = answer.err.splitlines()
    assert last == f"sluice: {message} {cure}".rstrip()
    assert all(line.startswith("building the runtime") for line in progress)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: " ".join(map(str, row)))
def test_a_refusal_is_one_object(sluice, project, row) -> None:
    code, *arguments = row
    check(sluice(*arguments, "--json"), code)


@pytest.mark.parametrize("command", leaves())
def test_an_option_that_there_is_not_is_64(sluice, project, command) -> None:
    check(sluice(*command.split(), *NEEDED.get(command, ()), "--bogus", "--json"), Exit.USAGE)


@pytest.mark.parametrize("command", leaves())
def test_outside_of_a_project_every_command_is_64(sluice, tmp_path, monkeypatch, command) -> None:
    monkeypatch.chdir(tmp_path)
    check(sluice(*command.split(), *NEEDED.get(command, ()), "--json"), Exit.USAGE)
    assert list(tmp_path.iterdir()) == []


def test_every_command_is_among_the_refused() -> None:
    named = {" ".join(row[1 : 2 + (row[1:2] != () and row[1] in GROUPS)]) for row in REFUSED}
    assert set(leaves()) <= named


@pytest.mark.parametrize("spelled", ["--json=true", "--json=yes", "--json=1"])
def test_json_with_a_value_is_json(sluice, project, spelled) -> None:
    check(sluice("plan", "tinny", spelled), Exit.USAGE)
    assert sluice("plan", "tiny", spelled).data["prompt_flow"] == "tiny"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_what_the_machine_refuses_is_one_line_with_the_file(sluice, monkeypatch, number) -> None:
    def refused(given):
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr(entry, "_call", refused)
    answer = sluice("status", "--json")
    check(answer, Exit.ERROR)
    assert answer.data["error"]["message"] == f"/some/file: {os.strerror(number)}."
    assert answer.data["error"]["cure"]
