"""The folder in which a prompt flow is registered: an MLflow pyfunc model that carries all that it needs.

    MLmodel                what `mlflow.pyfunc.load_model` reads
    flow/                  the prompt flow's files, as they were judged
    code/sluice_runner/    what opens them
    requirements.txt       the lock, completed by what load_model needs; conda.yaml and python_env.yaml point to it
    lock.txt deployments/  the rest of what the candidate's content hash covers
    manifest.json          sha256 of every file above

The same candidate gives the same bytes, and no secret is among them: connections are given when it is loaded.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from orchestration.candidates import load_run_specs, load_spec, read_manifest
from orchestration.errors import PlatformError
from orchestration.values import Candidate, canonical, sha256

ROOT: Final = Path(__file__).resolve().parents[2]
RUNNER: Final = ROOT / "runtime" / "sluice_runner"
LOADER_LOCK: Final = ROOT / "requirements" / "model.txt"

FLOW: Final = "flow"
LOCK: Final = "lock.txt"
CONTENT: Final = ("flow/", "deployments/", LOCK)  # what a candidate's content hash covers
MANIFEST: Final = "manifest.json"
BYTECODE: Final = "__pycache__"  # written beside code when root loads the model; Python can do without

MODEL_CHANGED: Final = "This file of a registered model is not as it was registered"
SNAPSHOT_CHANGED: Final = "This file of a candidate is not as it was judged"

REQUIREMENTS: Final = "requirements.txt"
REQUIREMENT = re.compile(r"^(?=[A-Za-z0-9])", re.MULTILINE)  # where one begins


def write_model_folder(candidate: Candidate, folder: Path) -> str:
    """Write the model of a candidate into `folder`, which must not exist, and return its manifest's sha256.

    Raises `PlatformError` if the snapshot is not what it was when its content hash was taken.
    """
    shutil.copytree(RUNNER, folder / "code" / RUNNER.name, ignore=shutil.ignore_patterns(BYTECODE))
    content = _content(candidate)
    for name, data in (content | _description(candidate, content[LOCK].decode())).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    manifest = canonical({"files": _hashes(folder)})
    (folder / MANIFEST).write_bytes(manifest)
    for file in _files(folder):
        file.chmod(0o444)
    return sha256(manifest)


def check_model_folder(folder: Path, manifest_sha256: str) -> None:
    """Raises `PlatformError` with the first file that is not as it was registered; bytecode is not looked at."""
    recorded = _read(folder / MANIFEST, MODEL_CHANGED)
    if sha256(recorded) != manifest_sha256:
        raise _changed(folder / MANIFEST, MODEL_CHANGED)
    expected: dict[str, str] = json.loads(recorded)["files"]
    found = _hashes(folder)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise _changed(folder / name, MODEL_CHANGED)


def model_requirements(lock: str, loader_lock: str) -> str:
    """`lock` completed with the packages of `loader_lock` that it lacks: hashed requirement files, both."""
    pinned = {name for name, _ in _requirements(lock)}
    missing = [text for name, text in _requirements(loader_lock) if name not in pinned]
    return "".join([lock.rstrip() + "\n" if lock.strip() else "", *missing])


def _content(candidate: Candidate) -> dict[str, bytes]:
    """The files that the content hash covers, each as it was hashed."""
    manifest = read_manifest(candidate.folder)
    names = [name for name in manifest.files if name.startswith(CONTENT)]
    content = {name: _read(candidate.folder / name, SNAPSHOT_CHANGED) for name in names}
    if manifest.candidate.content_hash != candidate.content_hash:
        raise _changed(candidate.folder / MANIFEST, SNAPSHOT_CHANGED)
    for name, data in content.items():
        if sha256(data) != manifest.files[name]:
            raise _changed(candidate.folder / name, SNAPSHOT_CHANGED)
    return content


def _description(candidate: Candidate, lock: str) -> dict[str, bytes]:
    """The files by which MLflow and package installers know how to load it."""
    python = platform.python_version()
    pip = [f"-r {REQUIREMENTS}"]
    conda = {"name": "sluice", "channels": ["conda-forge"], "dependencies": [f"python={python}", "pip", {"pip": pip}]}
    return {
        REQUIREMENTS: model_requirements(lock, LOADER_LOCK.read_text(encoding="utf-8")).encode(),
        "python_env.yaml": _yaml({"python": python, "dependencies": pip}),
        "conda.yaml": _yaml(conda),
        "MLmodel": _yaml(_mlmodel(candidate, python)),
    }


def _mlmodel(candidate: Candidate, python: str) -> dict[str, Any]:
    """The MLmodel file. load_model takes only those keys of a `model_config` that stand in `config`."""
    config: dict[str, Any] = {
        "connections": {name: {} for name in load_spec(candidate).connections},
        "variant": load_run_specs(candidate).flow.variant,
    }
    flavor = {
        "loader_module": f"{RUNNER.name}.pyfunc",
        "data": FLOW,
        "code": "code",
        "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
        "python_version": python,
        "config": config,
    }
    return {
        "artifact_path": candidate.prompt_flow,
        "flavors": {"python_function": flavor},
        "model_uuid": candidate.content_hash[:32],
        "metadata": {"content_hash": candidate.content_hash},
    }


def _yaml(value: Mapping[str, Any]) -> bytes:
    """JSON is YAML."""
    return json.dumps(value, indent=2).encode() + b"\n"


def _requirements(text: str) -> list[tuple[str, str]]:
    """Normalized name and text of each requirement, the hashes and comments below it included."""
    texts = REQUIREMENT.split(text)[1:]
    names = (re.split(r"[^A-Za-z0-9._-]", each, maxsplit=1)[0] for each in texts)
    return [
        (re.sub(r"[-_.]+", "-", name).lower(), each.rstrip() + "\n") for name, each in zip(names, texts, strict=True)
    ]


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and BYTECODE not in path.relative_to(folder).parts:
            yield path


def _hashes(folder: Path) -> dict[str, str]:
    """sha256 of each file by its name below the folder, the manifest itself left out."""
    files = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if name != MANIFEST}


def _read(path: Path, message: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise _changed(path, message) from None


def _changed(path: Path, message: str) -> PlatformError:
    return PlatformError(f"{message}: {path}.", cure="Evaluate and release again: sluice run.")
