"""The manifest of a candidate, and reading what a candidate holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.candidates.project import EVALUATION, RUN, SPEC, RunFile
from orchestration.errors import ConfigurationError, EvaluationBroken, Place
from orchestration.specs import PromptFlowSpec
from orchestration.validation import validate
from orchestration.values import Candidate, Json, as_json, sha256
from orchestration.yaml_files import YamlFile, parse_yaml

MANIFEST = "manifest.json"
ID_LENGTH = 32
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is in a candidate. `names` are the places in the project by path in the candidate."""

    candidate: Candidate
    files: Mapping[str, str]
    names: Mapping[str, str]
    frameworks: Mapping[str, str]

    def to_json(self) -> bytes:
        """The manifest as a file; commit and `dirty` are those of the first time it was taken."""
        about = {key: value for key, value in as_json(self.candidate).items() if key != "folder"}
        data = {"format": FORMAT, **about, "frameworks": self.frameworks, "names": self.names, "files": self.files}
        return json.dumps(data, indent=2, sort_keys=True).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class RunSide:
    """How to run one of a candidate's two flows.

    `mapping` is its `column_mapping` (None: columns of the same names); `places` says where each of its
    inputs stands in `mapping_file`, the user's own file.
    """

    folder: Path
    framework: str
    mapping: Mapping[str, Json] | None
    variant: str | None
    mapping_file: str
    places: Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """How to evaluate a candidate. `data_name` is what the data file is called in the project."""

    flow: RunSide
    evaluation: RunSide | None
    data: Path
    data_name: str


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a candidate's folder. Raises `ConfigurationError` if there is none that can be read."""
    try:
        data: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        files, names, frameworks = data.pop("files"), data.pop("names"), data.pop("frameworks")
        data = {key: value for key, value in data.items() if (key, value) != ("format", FORMAT)}
        return Manifest(Candidate(**data, folder=folder), files, names, frameworks)
    except (OSError, ValueError, KeyError, TypeError) as error:
        cure = "Remove the folder and take the candidate again."
        raise ConfigurationError(f"the candidate {folder.name} can't be read: {error}.", cure=cure) from None


def is_intact(folder: Path, files: Mapping[str, str]) -> bool:
    """Whether the folder holds these files, by their sha256, and a manifest."""
    try:
        return (folder / MANIFEST).is_file() and all(_hash(folder / path) == known for path, known in files.items())
    except OSError:
        return False


def _hash(path: Path) -> str:
    """The sha256 of a file; empty if it is gone. Raises `OSError` if it can't be read."""
    try:
        return sha256(path.read_bytes())
    except FileNotFoundError:
        return ""


def candidate_id(prompt_flow: str, files: Mapping[str, str]) -> str:
    """The name of a candidate with these files, by their sha256."""
    return sha256({"prompt_flow": prompt_flow, "files": files})[:ID_LENGTH]


def check_unchanged(candidate: Candidate) -> None:
    """Raises `EvaluationBroken` with the first file of the snapshot that is not as it was taken."""
    files = read_manifest(candidate.folder).files
    named = candidate_id(candidate.prompt_flow, files) == candidate.id
    changed = [path for path, known in files.items() if _hash(candidate.folder / path) != known]
    if changed or not named:
        cure = "Code that is evaluated must not write there. Run it again: the snapshot is taken anew."
        raise EvaluationBroken(f"The snapshot was changed meanwhile: {(changed or [MANIFEST])[0]}.", cure=cure)


def load_candidate(state: Path, candidate_id: str) -> Candidate:
    """A candidate that was taken before. Raises `ConfigurationError`: absent, or changed since."""
    folder = state / "candidates" / candidate_id
    manifest = read_manifest(folder)
    if not is_intact(folder, manifest.files):
        cure = "Remove the folder and take the candidate again."
        raise ConfigurationError(f"the candidate {candidate_id} was changed after it was taken.", cure=cure)
    return manifest.candidate


def load_spec(candidate: Candidate) -> PromptFlowSpec:
    """The candidate's sluice.yaml."""
    file = _file(candidate, SPEC, read_manifest(candidate.folder))
    return validate(PromptFlowSpec, file.data, file.place)


def load_run_specs(candidate: Candidate) -> RunSpec:
    """How the candidate is evaluated, with the places of the mappings in the user's own files."""
    manifest = read_manifest(candidate.folder)
    data = candidate.folder / "data.jsonl"
    evaluation = _side(candidate, manifest, EVALUATION, "evaluator") if EVALUATION in manifest.files else None
    return RunSpec(_side(candidate, manifest, RUN, "flow"), evaluation, data, manifest.names["data.jsonl"])


def _side(candidate: Candidate, manifest: Manifest, name: str, folder: str) -> RunSide:
    file = _file(candidate, name, manifest)
    run = validate(RunFile, file.data, file.place)
    return RunSide(
        folder=candidate.folder / folder,
        framework=manifest.frameworks[folder],
        mapping=run.column_mapping,
        variant=run.variant,
        mapping_file=file.name,
        places={key: file.place(("column_mapping", key)) for key in run.column_mapping or {}},
    )


def _file(candidate: Candidate, name: str, manifest: Manifest) -> YamlFile:
    text = (candidate.folder / name).read_text(encoding="utf-8")
    return parse_yaml(text, name=manifest.names.get(name, name))
