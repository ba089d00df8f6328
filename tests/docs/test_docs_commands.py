"""What the pages tell people to type works: commands, options, targets, deployments, modules, tasks."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
import yaml
from doc_pages import ROOT, Page, page, pages

from orchestration.cli.main import COMMANDS, main

TASK = re.compile(r'step\([\w.]+, "([^"]+)"\)')
NAMED_TASKS = re.compile(r"tasks? ((?:`[^`]+`(?:, | to | and )?)+)")
each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


@pytest.fixture
def helped(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*command: str) -> str:
        code = main([*command, "--help"])
        said = capsys.readouterr().out
        assert code == 0
        assert said.startswith(f"Usage: sluice {' '.join(command)}".rstrip()), f"there is no sluice {' '.join(command)}"
        return said

    return run


@each_page
def test_every_command_and_option_exists(page: Page, helped: Callable[..., str]) -> None:
    for words in page.commands("sluice"):
        plain = [word for word in words if not word.startswith("-")]
        command = plain[:1]
        assert command == [] or command[0] in COMMANDS, words
        said = helped(*command)
        if command and said.startswith(f"Usage: sluice {command[0]} COMMAND") and plain[1:]:
            said = helped(*plain[:2])
        for option in (word.partition("=")[0] for word in words if word.startswith("-")):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", said), words


@each_page
def test_every_environment_that_is_named_exists(page: Page) -> None:
    known = {path.stem for path in (ROOT / "config").glob("*.yaml")} - {"base"}
    for words in page.commands("sluice"):
        for option, value in pairwise(words):
            if option in {"-e", "--environment"}:
                assert value in known or value.startswith("<"), words
    deployments = {each["name"] for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]}
    assert set(re.findall(r"evaluate-deploy/(\w+)", page.text)) <= deployments


@each_page
def test_every_make_target_exists(page: Page) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in page.commands("make"):
        assert {word for word in words if "=" not in word} <= targets, words


@each_page
def test_every_module_that_is_run_exists(page: Page) -> None:
    for name in re.findall(r"python -m (orchestration[\w.]*)", page.text):
        spec = importlib.util.find_spec(name)
        assert spec, name
        assert not spec.submodule_search_locations or importlib.util.find_spec(f"{name}.__main__"), name


@each_page
def test_every_task_that_is_named_exists(page: Page) -> None:
    for names in NAMED_TASKS.findall(page.prose):
        assert set(re.findall(r"`([^`]+)`", names)) <= task_names(), names


def test_the_life_of_a_release_lists_every_task() -> None:
    table = page("docs/architecture.md").section("## The life of a release")
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) == task_names()


def test_the_readme_names_every_command_and_environment() -> None:
    readme = page("README.md")
    assert {words[0] for words in readme.commands("sluice") if words} == set(COMMANDS)
    for path in (ROOT / "config").glob("*.yaml"):
        assert f"`{path.stem}`" in readme.text or path.stem == "base"


def task_names() -> set[str]:
    return set(TASK.findall((ROOT / "orchestration/prefect_flows/task_table.py").read_text()))
