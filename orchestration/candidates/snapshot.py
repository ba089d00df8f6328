"""Taking a candidate: everything a prompt flow needs is read once, hashed, and kept read-only under its hash.

flow/                    the prompt flow's files: the content that will serve
deployments/             the files of deployments/<name>/, if there are any
evaluator/               the evaluation flow's files, if there is one
data.jsonl               one row per line
sluice.yaml run.yml run_evaluation.yml
lock.txt evaluator-lock.txt
manifest.json            the hashes of all of it, and where in the project it came from
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from orchestration.candidates.checkout import Checkout, checkout, files_of
from orchestration.candidates.files import Area, links_in, read_files, real_path, trail
from orchestration.candidates.manifest import MANIFEST, Manifest, candidate_id, is_intact
from orchestration.candidates.project import EVALUATION, RUN, SPEC, Project, Side, read_project
from orchestration.errors import ConfigurationError, Place
from orchestration.locks import lock_for, sources_of
from orchestration.values import Candidate, Json, sha256
from orchestration.yaml_files import shown

UNFINISHED_SECONDS = 3600  # a temporary folder this old belongs to a killed process


def take_candidate(root: Path, state: Path, prompt_flow: str, *, commit: str | None = None) -> Candidate:
    """Snapshot a prompt flow into `state/candidates/<id>/`; what is there already is checked and used again.

    From the checkout as it is, or from `commit` as it was. Everything is checked before anything is created.
    Raises `ConfigurationError` with `file:line:key`.
    """
    if commit is None:
        return _take(root, root, state, prompt_flow, checkout(root))
    with files_of(root, commit) as (tree, full):
        return _take(root, tree, state, prompt_flow, Checkout(full))


def remove_old_candidates(
    state: Path, keep_days: float, *, keep: Collection[str] = (), now: float | None = None
) -> int:
    """Remove candidates that nobody has taken for so many days, except those in `keep`; returns how many."""
    before = (time.time() if now is None else now) - keep_days * 86_400
    folders = [path for path in (state / "candidates").glob("*") if path.name not in keep]
    old = [path for path in folders if path.stat().st_mtime < before]
    for path in old:
        shutil.rmtree(path)
    return len(old)


def _take(root: Path, tree: Path, state: Path, name: str, git: Checkout) -> Candidate:
    project = read_project(root, tree, name)
    try:
        files = _files(root, state, project, git)
        manifest = _manifest(project, files, git, dirty=git.is_dirty(_own_paths(root, project, git)))
        folder = state / "candidates" / manifest.candidate.id
        if not is_intact(folder, manifest.files):
            _write(folder, files, manifest)
        os.utime(folder)
    except OSError as error:
        message = f"the state folder can't be used: {error.strerror}."
        cure = "Make it writable, or set state_folder in config/base.yaml."
        raise ConfigurationError(message, at=Place(shown(state, root)), cure=cure) from None
    return replace(manifest.candidate, folder=folder)


def _files(root: Path, state: Path, project: Project, git: Checkout) -> dict[str, bytes]:
    """Every file of the candidate by its path in it."""
    evaluation = project.evaluation
    files = _below("flow", read_files(project.flow.folder, _flow_area(project, project.flow, git)))
    files |= _below("deployments", _deployment_files(project, git))
    files |= {SPEC: project.spec_file.text.encode(), RUN: project.flow.file.text.encode()}
    files |= {"data.jsonl": project.data.content, "lock.txt": _lock(root, state, project, project.flow)}
    if evaluation:
        files |= _below("evaluator", read_files(evaluation.folder, _flow_area(project, evaluation, git)))
        files |= {EVALUATION: evaluation.file.text.encode()}
        files |= {"evaluator-lock.txt": _lock(root, state, project, evaluation)}
    return files


def _lock(root: Path, state: Path, project: Project, side: Side) -> bytes:
    return lock_for(root, side.folder, state=state, tree=project.tree).encode()


def _flow_area(project: Project, side: Side, git: Checkout) -> Area:
    """One flow's files are those without data, specifications and the other flow, which have places of their own."""
    folders = {project.flow.folder} | ({project.evaluation.folder} if project.evaluation else set())
    nested = {folder for folder in folders if folder != side.folder and folder.is_relative_to(side.folder)}
    own = {project.folder / name for name in (SPEC, RUN, EVALUATION)}
    skipped = frozenset(real_path(path) for path in (*nested, *own, *project.data_paths))
    return Area(project.tree, (project.tree / "flows").resolve(), skipped, git.ignored)


def _deployment_files(project: Project, git: Checkout) -> Mapping[str, bytes]:
    folder = _deployment_folder(project)
    return read_files(folder, _deployment_area(project, git)) if folder.is_dir() else {}


def _deployment_folder(project: Project) -> Path:
    return project.tree / "deployments" / project.name


def _deployment_area(project: Project, git: Checkout) -> Area:
    return Area(project.tree, (project.tree / "deployments").resolve(), ignored=git.ignored)


def _below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{path}": content for path, content in files.items()}


def _manifest(project: Project, files: Mapping[str, bytes], git: Checkout, *, dirty: bool) -> Manifest:
    hashes = {path: sha256(content) for path, content in sorted(files.items())}
    evaluation = project.evaluation
    candidate = Candidate(
        prompt_flow=project.name,
        id=candidate_id(project.name, hashes),
        commit=git.commit,
        dirty=dirty,
        content_hash=_hash(hashes, ("flow/", "deployments/", "lock.txt"), project.flow.run.variant),
        data_hash=hashes["data.jsonl"],
        evaluator_hash=_hash(hashes, ("evaluator/", "evaluator-lock.txt"), evaluation.run.variant)
        if evaluation
        else "",
        rules_hash=sha256(_rules(project)),
        lock_hash=hashes["lock.txt"],
        evaluator_lock_hash=hashes.get("evaluator-lock.txt", ""),
        folder=Path(),
    )
    sides = {"flow": project.flow} | ({"evaluator": evaluation} if evaluation else {})
    names = {SPEC: project.spec_file.name, "data.jsonl": project.data.name}
    names |= {side: shown(s.folder, project.tree) for side, s in sides.items()}
    names |= {Path(s.file.name).name: s.file.name for s in sides.values()}
    return Manifest(candidate, hashes, names, {side: s.framework for side, s in sides.items()})


def _hash(hashes: Mapping[str, str], prefixes: tuple[str, ...], variant: str | None) -> str:
    """Files by path, with the variant, which decides what of them runs."""
    return sha256({"files": {p: h for p, h in hashes.items() if p.startswith(prefixes)}, "variant": variant})


def _rules(project: Project) -> Json:
    """What is judged and how, as values: a comment makes no other rule."""
    sides = (project.flow, project.evaluation)
    return {"spec": project.spec_file.data, "mappings": [s.run.column_mapping if s else None for s in sides]}


def _own_paths(root: Path, project: Project, git: Checkout) -> set[str]:
    """What decides about this candidate, as paths of the project: also each link on the way, and what it leads to."""
    tree, deployments = project.tree, _deployment_folder(project)
    sides = {RUN: project.flow} | ({EVALUATION: project.evaluation} if project.evaluation else {})
    paths = [project.folder, deployments, *(project.folder / name for name in (SPEC, *sides))]
    if deployments.is_dir():
        paths += links_in(deployments, _deployment_area(project, git))
    for side in sides.values():
        paths += [side.folder, *side.named(tree), *links_in(side.folder, _flow_area(project, side, git))]
        paths += [path for path in sources_of(root, side.folder) if path.is_relative_to(tree)]
    return {shown(step, tree.resolve()) for path in paths for step in trail(path, tree)}


def _write(folder: Path, files: Mapping[str, bytes], manifest: Manifest) -> None:
    """Write everything beside the folder and rename it: a reader sees all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(folder.parent)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent, ignore_cleanup_errors=True) as temporary:
        new = Path(temporary) / "new"
        for path, content in {**files, MANIFEST: manifest.to_json()}.items():
            _write_file(new / path, content)
        _put(new, folder, manifest, aside=Path(temporary) / "old")


def _put(new: Path, folder: Path, manifest: Manifest, *, aside: Path) -> None:
    """Rename `new` to `folder`, unless someone else has just done the same; what is damaged there goes aside."""
    try:
        new.rename(folder)
    except OSError:
        if is_intact(folder, manifest.files):
            return
        folder.rename(aside)
        new.rename(folder)


def _write_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(".*"):
        if path.stat().st_mtime < time.time() - UNFINISHED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
