"""Finding the project and loading an environment's settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestration.errors import ConfigurationError, Place
from orchestration.settings.azure_checks import azure_problems
from orchestration.settings.checks import problems
from orchestration.settings.layers import Layer, Layers, expand
from orchestration.settings.model import Settings, SettingsFile
from orchestration.validation import NAME, Problem, every_problem, nearest, refuse, refuse_first, validate
from orchestration.yaml_files import parse_yaml, read_yaml

BASE = "base"


def find_root(start: Path | None = None) -> Path:
    """The project's folder: the nearest one, from `start` upwards, with config/base.yaml.

    Raises `ConfigurationError` if there is none.
    """
    begin = (start or Path.cwd()).resolve()
    for folder in (begin, *begin.parents):
        if (folder / "config" / "base.yaml").is_file():
            return folder
    message = f"there is no config/base.yaml in {begin} or in a folder above it."
    raise ConfigurationError(message, cure="Change into your project's folder and run the command again.")


def list_environments(root: Path) -> list[str]:
    """The environments: one file each in config/."""
    names = (path.stem for path in (root / "config").glob("*.yaml"))
    return sorted(name for name in names if name != BASE and re.match(NAME, name))


def load_settings(
    root: Path,
    environment: str,
    *,
    block: Mapping[str, Any] | None = None,
    command_line: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings in force: command line > block > config/<environment>.yaml > config/base.yaml > defaults.

    `block` is the content of the block `sluice-environment/<environment>`; the keys of both mappings may be
    dotted. Reads two files and creates nothing. Raises `ConfigurationError` with `file:line:key`.
    """
    layers = _layers(root, environment, block, command_line)
    file = validate(SettingsFile, layers.merged(), layers.place)
    settings = Settings.of(file, environment=environment, root=root, layers=layers)
    refuse_first(_problems(settings), layers.place)
    return settings


def settings_problems(root: Path, environment: str) -> list[ConfigurationError]:
    """All that is wrong with an environment's files; empty if `load_settings` takes them."""
    try:
        layers = _layers(root, environment, None, None)
    except ConfigurationError as error:
        return [error]
    found = every_problem(SettingsFile, layers.merged(), layers.place)
    if found:
        return found
    file = validate(SettingsFile, layers.merged(), layers.place)
    settings = Settings.of(file, environment=environment, root=root, layers=layers)
    return [refuse(problem, layers.place) for problem in _problems(settings)]


def parse_overrides(items: Sequence[str]) -> dict[str, Any]:
    """`["rollout.keep=0"]` as given on the command line; values are read as YAML reads them."""
    overrides: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (key and equals):
            cure = "Write a dotted key and its value, as in rollout.keep=0."
            raise ConfigurationError(f"found {item!r}, expected key=value.", at=Place("command line"), cure=cure)
        overrides[key] = parse_yaml(f"value: {value}", name="command line").data["value"]
    return overrides


def _problems(settings: Settings) -> Iterator[Problem]:
    """What is wrong between keys."""
    yield from azure_problems(settings)
    yield from problems(settings)


def _layers(
    root: Path, environment: str, block: Mapping[str, Any] | None, command_line: Mapping[str, Any] | None
) -> Layers:
    _check_environment(root, environment)
    return Layers(
        (
            _file_layer(root, BASE),
            _file_layer(root, environment),
            Layer(f"block sluice-environment/{environment}", expand(block or {})),
            Layer("command line", expand(command_line or {})),
        )
    )


def _check_environment(root: Path, environment: str) -> None:
    known = list_environments(root)
    if environment not in known:
        cure = nearest(environment, known) or "Create config/local.yaml."
        raise ConfigurationError(f"there is no environment {environment!r}.", at=Place("config"), cure=cure)


def _file_layer(root: Path, name: str) -> Layer:
    file = read_yaml(root / "config" / f"{name}.yaml", root=root)
    return Layer(file.name, file.data, file)
