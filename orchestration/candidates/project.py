"""What belongs to one prompt flow in a tree of files: its folders, data and specifications, all of it checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from orchestration.candidates.data import Data, check_data
from orchestration.candidates.files import read_bytes, real_path
from orchestration.errors import ConfigurationError, Place
from orchestration.locks import framework_of, markers
from orchestration.specs import PromptFlowSpec, Spec, spec_problems
from orchestration.validation import NAME, VARIANT, Problem, nearest, refuse_first, validate
from orchestration.yaml_files import YamlFile, read_yaml, shown

SPEC, RUN, EVALUATION = "sluice.yaml", "run.yml", "run_evaluation.yml"
MAPPED = re.compile(r"\$\{(data|run\.outputs|run\.inputs)\.([^{}]+)\}")


class RunFile(Spec):
    """run.yml or run_evaluation.yml, as prompt flow knows them. What describes a run is accepted and not used."""

    schema_: str | None = Field(default=None, alias="$schema")
    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    tags: dict[str, str] | None = None
    properties: dict[str, str] | None = None
    run: str | None = Field(default=None, description="run_evaluation.yml: always the run of run.yml.")
    flow: str = Field(default=".", description="The folder of the flow, from this file's folder.")
    data: str | None = Field(default=None, description="The data file, from this file's folder.")
    variant: str | None = Field(default=None, pattern=VARIANT, description="${node.variant}")
    runtime: str | None = Field(default=None, description="Only for prompt flow's cloud runs.")
    resources: dict[str, Any] | None = Field(default=None, description="Only for prompt flow's cloud runs.")
    identity: dict[str, Any] | None = Field(default=None, description="Only for prompt flow's cloud runs.")
    connections: Any = Field(default=None, description="Refused: connections belong to the environment.")
    environment_variables: Any = Field(default=None, description="Refused: what serves would not have them.")
    init: Any = Field(default=None, description="Refused: what serves would not have it.")
    column_mapping: dict[str, Any] | None = Field(default=None, description="Input of the flow: ${data.column} or so.")


@dataclass(frozen=True, slots=True)
class Side:
    """The prompt flow, or its evaluation flow: the file that says how to run it, its folder, its framework."""

    file: YamlFile
    run: RunFile
    folder: Path
    framework: str

    def named(self, tree: Path) -> list[Path]:
        """The paths that the file names, as it names them: links and all."""
        folder = (tree / self.file.name).parent
        return [folder / name for name in (self.run.flow, self.run.data) if name]

    def refuse(self, key: str, message: str, cure: str = "") -> ConfigurationError:
        return ConfigurationError(message, at=self.file.place((key,)), cure=cure)


@dataclass(frozen=True, slots=True)
class Project:
    """One prompt flow in `tree`, checked."""

    name: str
    tree: Path
    folder: Path
    spec: PromptFlowSpec
    spec_file: YamlFile
    flow: Side
    evaluation: Side | None
    data: Data
    data_paths: frozenset[Path]


def list_prompt_flows(root: Path) -> list[str]:
    """The names of the folders in flows/ that have a sluice.yaml."""
    folders = (path.parent for path in (root / "flows").glob(f"*/{SPEC}"))
    return sorted(folder.name for folder in folders if re.match(NAME, folder.name))


def read_project(root: Path, tree: Path, name: str) -> Project:
    """Read and check everything of a prompt flow. `root` knows the frameworks; nothing is created.

    Raises `ConfigurationError` with `file:line:key`.
    """
    folder = _folder(tree, name)
    spec_file = _read_own(tree, folder / SPEC)
    spec = validate(PromptFlowSpec, spec_file.data, spec_file.place)
    refuse_first(spec_problems(spec), spec_file.place)
    flow = _side(root, tree, folder / RUN)
    evaluation = _side(root, tree, folder / EVALUATION) if (folder / EVALUATION).is_file() else None
    first = _data_path(tree, flow)
    second = _data_path(tree, evaluation) if evaluation and evaluation.run.data else first
    data = check_data(shown(first, tree), read_bytes(first, tree), key=spec.key)
    if evaluation and read_bytes(second, tree) != data.content:
        cure = f"Name {data.name} there too: the truth may stand beside the inputs."
        raise evaluation.refuse("data", f"{shown(second, tree)} holds other rows than {data.name}.", cure)
    project = Project(name, tree, folder, spec, spec_file, flow, evaluation, data, frozenset({first, second}))
    _check_together(project)
    return project


def _folder(tree: Path, name: str) -> Path:
    known = list_prompt_flows(tree)
    if not re.fullmatch(NAME, name):
        message = f"{name!r} is not the name of a prompt flow: small letters, digits, '-' and '_'."
        raise ConfigurationError(message, at=Place("flows"), cure=nearest(name, known))
    folder = tree / "flows" / name
    if not folder.is_dir():
        raise ConfigurationError(f"there is no prompt flow {name!r}.", at=Place("flows"), cure=nearest(name, known))
    if not folder.resolve().is_relative_to((tree / "flows").resolve()):
        raise ConfigurationError("is a link that leaves flows/.", at=Place(f"flows/{name}"), cure="Copy the folder.")
    return folder


def _read_own(tree: Path, path: Path) -> YamlFile:
    if not real_path(path).is_relative_to((tree / "flows").resolve()):
        raise ConfigurationError("is a link that leaves flows/.", at=Place(shown(path, tree)), cure="Copy the file.")
    return read_yaml(path, root=tree)


def _side(root: Path, tree: Path, path: Path) -> Side:
    file = _read_own(tree, path)
    run = validate(RunFile, file.data, file.place)
    refuse_first((*_key_problems(run), *_mapping_problems(run)), file.place)
    target = _inside(file, "flow", path.parent / run.flow, tree / "flows")
    folder = target.parent if target.is_file() else target
    return Side(file, run, folder, _framework(root, tree, file, target, folder))


def _framework(root: Path, tree: Path, file: YamlFile, target: Path, folder: Path) -> str:
    """The name of the framework of the flow in `folder`; `target` may be the very file that marks it."""
    at, name = file.place(("flow",)), shown(folder, tree)
    if not folder.is_dir():
        raise ConfigurationError(f"the folder {name} does not exist.", at=at)
    found = framework_of(root, folder)
    if found is None:
        message = f"{name} holds no prompt flow: it has none of {', '.join(markers(root))}."
        raise ConfigurationError(message, at=at, cure="Add the file, or correct `flow`.")
    framework, marker = found
    if target not in {folder, marker}:
        message = f"{name} is opened by {marker.name}, not by {target.name}."
        raise ConfigurationError(message, at=at, cure=f"Move {target.name} into a folder of its own.")
    return framework.name


def _inside(file: YamlFile, key: str, path: Path, limit: Path) -> Path:
    """`path` without `..`; refused if it, or a link on its way, leads out of `limit`."""
    real = real_path(path)
    if not real.is_relative_to(limit.resolve()):
        name = "flows/" if limit.name == "flows" else "the project"
        raise ConfigurationError(f"{file.data.get(key)!r} leaves {name}.", at=file.place((key,)))
    return limit / real.relative_to(limit.resolve())


def _data_path(tree: Path, side: Side) -> Path:
    if not side.run.data:
        raise side.refuse("data", "the key 'data' is missing.", "Write data: and a file with JSON lines.")
    path = _inside(side.file, "data", tree / Path(side.file.name).parent / side.run.data, tree)
    if not path.is_file():
        near = [p.name for p in path.parent.glob("*.jsonl")] if path.parent.is_dir() else []
        raise side.refuse("data", f"the file {shown(path, tree)} does not exist.", nearest(path.name, near))
    return path


ELSEWHERE = {
    "connections": "Bind the connection's name in config/<environment>.yaml, and name the node's in the flow.",
    "environment_variables": "Write them into the flow's own file, so that what serves has them too.",
    "init": "Give the flow's class defaults, so that what serves has them too.",
}


def _key_problems(run: RunFile) -> Iterator[Problem]:
    """Keys that prompt flow knows for a run alone: what serves would differ from what was judged."""
    for name, cure in ELSEWHERE.items():
        if getattr(run, name) is not None:
            yield Problem((name,), f"'{name}' would hold for the evaluation only.", cure)


def _mapping_problems(run: RunFile) -> Iterator[Problem]:
    for name, value in (run.column_mapping or {}).items():
        if isinstance(value, str) and value.startswith("${") and not MAPPED.fullmatch(value):
            cure = "Write ${data.<column>} or ${run.outputs.<output>}."
            yield Problem(("column_mapping", name), f"{value!r} is not a reference to a column or output.", cure)


def _check_together(project: Project) -> None:
    """The two flows, the mappings against the columns of the data, the slices too, and one row of each file against the other."""
    evaluation, data = project.evaluation, project.data
    refuse_first(_unknown_columns(project.flow, data), project.flow.file.place)
    if evaluation:
        if evaluation.folder == project.flow.folder:
            raise evaluation.refuse("flow", "is the folder of the prompt flow itself.", "Give it a folder of its own.")
        refuse_first(_unknown_columns(evaluation, data), evaluation.file.place)
    elif any(metric.from_ == "rows" for metric in project.spec.metrics.values()):
        message = (
            f"metrics need an evaluation flow, and there is no {shown(project.folder / EVALUATION, project.tree)}."
        )
        raise ConfigurationError(message, at=project.spec_file.place(("metrics",)))
    for index, column in enumerate(project.spec.slices):
        if column not in data.columns:
            at = project.spec_file.place(("slices", index))
            raise ConfigurationError(f"no row has a column {column!r}.", at=at, cure=nearest(column, data.columns))


def _unknown_columns(side: Side, data: Data) -> Iterator[Problem]:
    for name, value in (side.run.column_mapping or {}).items():
        found = MAPPED.fullmatch(value) if isinstance(value, str) else None
        if found and found[1] == "data" and found[2] not in data.columns:
            message = f"no row of {data.name} has a column {found[2]!r}."
            yield Problem(("column_mapping", name), message, nearest(found[2], data.columns))
