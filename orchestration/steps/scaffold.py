"""New prompt flows: from templates that work at once, or beside a prompt flow that somebody brings."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from orchestration.candidates import list_prompt_flows
from orchestration.candidates.project import EVALUATION, RUN, SPEC
from orchestration.errors import ConfigurationError, Place
from orchestration.locks import framework_of, markers
from orchestration.steps import flow_files
from orchestration.steps.prepare import ALL
from orchestration.validation import NAME, PATTERNS
from orchestration.yaml_files import read_yaml

Kind = Literal["dag", "flex", "prompty", "callable"]
TEMPLATES = Path(__file__).with_name("templates")
SUFFIX = ".template"
EVALUATION_SUFFIX = "_evaluation"
# What a prompt flow is not made of; `.env` may hold keys.
LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".env", "__pycache__", "*.pyc", ".promptflow", ".venv", "node_modules", ".DS_Store"
)


@dataclass(frozen=True, slots=True)
class Made:
    """What a scaffold wrote, by path below the project; `hints` say what is left for a person to do."""

    name: str
    files: tuple[str, ...]
    hints: tuple[str, ...] = ()


def scaffold(root: Path, name: str, *, kind: Kind) -> Made:
    """A prompt flow of this kind with an evaluation flow, data and a gate; it passes on the embedded model.

    Raises `ConfigurationError` for a name that is taken or won't do; then nothing is written.
    """
    _check_name(root, name)
    output = "output" if kind == "prompty" else "label"
    words = {"@NAME@": name, "@OUTPUT@": output}
    evaluation = "callable_evaluation" if kind == "callable" else "promptflow_evaluation"
    with _workshop(root) as workshop:
        for source in ("shared", kind):
            _fill(TEMPLATES / source, workshop / name, words)
        _fill(TEMPLATES / evaluation, workshop / f"{name}{EVALUATION_SUFFIX}", words)
        return Made(name, tuple(_publish(root, workshop)))


def adopt(root: Path, name: str, source: Path) -> Made:
    """Copy an existing prompt flow unchanged and add what is missing: sluice.yaml, and run.yml with data.

    Raises `ConfigurationError` if the folder holds no prompt flow, or the name won't do; then nothing is written.
    """
    _check_name(root, name, evaluation=False)
    if not source.is_dir():
        raise ConfigurationError(f"there is no folder {source}.", cure="Name the folder of a prompt flow.")
    if framework_of(root, source) is None:
        raise ConfigurationError(f"{source} holds no prompt flow: it has none of {', '.join(markers(root))}.")
    with _workshop(root) as workshop:
        folder = workshop / name
        shutil.copytree(source, folder, ignore=LEFT_BEHIND)
        hints = _complete(folder)
        return Made(name, tuple(_publish(root, workshop)), tuple(hints))


def _check_name(root: Path, name: str, *, evaluation: bool = True) -> None:
    if not re.fullmatch(NAME, name) or name == ALL:
        raise ConfigurationError(f"{name!r} is no name of a prompt flow: {PATTERNS[NAME]}, and not {ALL!r}.")
    for each in (name, f"{name}{EVALUATION_SUFFIX}") if evaluation else (name,):
        if (root / "flows" / each).exists():
            known = ", ".join(list_prompt_flows(root))
            message = f"there is a folder {each} already."
            raise ConfigurationError(message, at=Place("flows"), cure=f"Choose another name than {known or each}.")


class _workshop:  # noqa: N801 - used like a function
    """A folder beside the prompt flows: what is made there appears in one rename, or not at all."""

    def __init__(self, root: Path) -> None:
        self._flows = root / "flows"

    def __enter__(self) -> Path:
        self._flows.mkdir(exist_ok=True)
        self._temporary = tempfile.TemporaryDirectory(prefix=".new-", dir=self._flows)
        return Path(self._temporary.name)

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()


def _fill(source: Path, target: Path, words: dict[str, str]) -> None:
    for path in sorted(source.glob(f"*{SUFFIX}")):
        text = path.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        target.mkdir(exist_ok=True)
        (target / path.name.removesuffix(SUFFIX)).write_text(text, encoding="utf-8")


def _publish(root: Path, workshop: Path) -> Iterator[str]:
    for folder in sorted(workshop.iterdir()):
        place = root / "flows" / folder.name
        folder.rename(place)
        yield from (path.relative_to(root).as_posix() for path in sorted(place.rglob("*")) if path.is_file())


def _complete(folder: Path) -> list[str]:
    """Write what a brought prompt flow lacks; returns what a person should look at."""
    hints = []
    inputs = flow_files.sample_inputs(folder)
    if not (folder / RUN).is_file():
        data = next((path.name for path in sorted(folder.glob("*.jsonl"))), None)
        if data is None:
            data = "data.jsonl"
            (folder / data).write_text(json.dumps(inputs or {"text": ""}, ensure_ascii=False) + "\n", encoding="utf-8")
            hints.append(f"{data} holds one made-up row: write real ones")
        (folder / RUN).write_text(_run_file(folder, data, inputs), encoding="utf-8")
        hints.append(f"{RUN}: check column_mapping")
    if not (folder / SPEC).is_file():
        (folder / SPEC).write_text(_spec(folder, inputs), encoding="utf-8")
        hints.append(f"{SPEC}: its only rule is that no row fails; grade the answers with {EVALUATION} and more rules")
    return hints


def _run_file(folder: Path, data: str, inputs: dict[str, Any]) -> str:
    columns = _columns(folder / data)
    names = [name for name in (flow_files.declared_inputs(folder) or inputs) if name in columns]
    lines = ["flow: .", f"data: {data}", *(["column_mapping:"] if names else [])]
    return "\n".join([*lines, *(f"  {name}: ${{data.{name}}}" for name in names)]) + "\n"


def _columns(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        try:
            row = json.loads(file.readline() or "{}")
        except ValueError:
            return []
    return list(row) if isinstance(row, dict) else []


def _spec(folder: Path, inputs: dict[str, Any]) -> str:
    """A gate that can be held at once: every row must complete."""
    sample = inputs or _first_row(folder)
    connections = ", ".join(flow_files.named_connections(folder) or ["aoai"])
    outputs = flow_files.declared_outputs(folder)
    required = f"\n    required: [{', '.join(outputs)}]" if outputs else ""
    values = (
        "".join(f"\n    {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in sample.items()) or " {}"
    )
    return f"""# What Sluicegate needs to know beyond the prompt flow itself. Every key: docs/configuration.md
connections: [{connections}]

gate:
  rules:
    - {{metric: failed_ratio, max: 0}}

# Every new online deployment must answer this before it gets traffic.
sample:
  inputs:{values}
  answer:
    type: object{required}
"""


def _first_row(folder: Path) -> dict[str, Any]:
    """The inputs of the first row as run.yml maps them."""
    run = read_yaml(folder / RUN, root=folder).data
    try:
        with (folder / str(run.get("data", ""))).open(encoding="utf-8") as file:
            row = json.loads(file.readline())
    except (OSError, ValueError):
        return {}
    mapping = run.get("column_mapping") or {name: f"${{data.{name}}}" for name in row}
    found = {name: re.fullmatch(r"\$\{data\.([^{}]+)\}", str(value)) for name, value in mapping.items()}
    return {name: row[match[1]] for name, match in found.items() if match and match[1] in row}
