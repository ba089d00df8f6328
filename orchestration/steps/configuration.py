"""The whole configuration: what is in force and where it comes from, and everything that is wrong with the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.candidates import list_prompt_flows
from orchestration.candidates.project import EVALUATION, RUN, SPEC, RunFile, read_project
from orchestration.errors import ConfigurationError
from orchestration.settings import Settings, bind, list_environments, load_settings, settings_problems
from orchestration.specs import PromptFlowSpec, spec_problems
from orchestration.steps.prepare import ALL
from orchestration.validation import every_problem, nearest, refuse, validate
from orchestration.yaml_files import read_yaml


def in_force(settings: Settings, key: str | None = None) -> dict[str, dict[str, Any]]:
    """Value and source of each setting by its dotted key; with `key` of that one, or of all below it.

    References are shown as such, never what they refer to. Raises `ConfigurationError` for an unknown key.
    """
    values = settings.model_dump(mode="json", by_alias=True, include=set(type(settings).model_fields) - _own(settings))
    every = {name: {"value": _at(values, name), "source": source} for name, source in settings.sources.items()}
    if key is None:
        return every
    found = {name: each for name, each in every.items() if name == key or name.startswith(f"{key}.")}
    if not found:
        raise ConfigurationError(f"there is no setting {key!r}.", cure=nearest(key, _prefixes(every)))
    return found


def problems(root: Path) -> Iterator[ConfigurationError]:
    """Everything that is wrong in `config/` and `flows/`, each problem once."""
    seen: set[str] = set()
    for error in _every(root):
        if str(error) not in seen:
            seen.add(str(error))
            yield error


def prompt_flow_problems(root: Path, name: str) -> Iterator[ConfigurationError]:
    """What is wrong with one prompt flow, in itself or in an environment whose settings can be read."""
    environments = [each for each in list_environments(root) if not settings_problems(root, each)]
    yield from _prompt_flow(root, name, [load_settings(root, each) for each in environments])


def _every(root: Path) -> Iterator[ConfigurationError]:
    usable: list[Settings] = []
    for environment in list_environments(root):
        found = settings_problems(root, environment)
        yield from found
        if not found:
            usable.append(load_settings(root, environment))
    names = list_prompt_flows(root)
    for settings in usable:
        yield from _default(settings, names)
    for name in names:
        yield from _prompt_flow(root, name, usable)


def _default(settings: Settings, names: list[str]) -> Iterator[ConfigurationError]:
    wanted = settings.default_prompt_flow
    if wanted != ALL and wanted not in names:
        at, cure = settings.at("default_prompt_flow"), nearest(wanted, names) or "Next: sluice new"
        yield ConfigurationError(f"there is no prompt flow {wanted!r}.", at=at, cure=cure)


def _prompt_flow(root: Path, name: str, usable: list[Settings]) -> Iterator[ConfigurationError]:
    folder = root / "flows" / name
    broken = [*_spec(folder / SPEC, root)]
    for file in (folder / RUN, folder / EVALUATION):
        broken += _run_file(file, root)
    yield from broken
    if broken:
        return
    try:
        spec = read_project(root, root, name).spec
    except ConfigurationError as error:
        yield error
        return
    for settings in usable:
        try:
            bind(settings, spec)
        except ConfigurationError as error:
            yield error


def _spec(path: Path, root: Path) -> Iterator[ConfigurationError]:
    try:
        file = read_yaml(path, root=root)
    except ConfigurationError as error:
        yield error
        return
    found = every_problem(PromptFlowSpec, file.data, file.place)
    yield from found
    if not found:
        spec = validate(PromptFlowSpec, file.data, file.place)
        yield from (refuse(problem, file.place) for problem in spec_problems(spec))


def _run_file(path: Path, root: Path) -> Iterator[ConfigurationError]:
    if not path.is_file():
        return
    try:
        file = read_yaml(path, root=root)
    except ConfigurationError as error:
        yield error
        return
    yield from every_problem(RunFile, file.data, file.place)


def _own(settings: Settings) -> set[str]:
    return {"environment", "root", "sources"} & set(type(settings).model_fields)


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for part in key.split("."):
        found = found[part]
    return found


def _prefixes(keys: Mapping[str, Any]) -> list[str]:
    parts = [key.split(".") for key in keys]
    return list(dict.fromkeys(".".join(each[:n]) for each in parts for n in range(1, len(each) + 1)))
