"""Which framework a prompt flow belongs to, and the lock of its runtime: hashed requirements, resolved by uv."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from orchestration.errors import ConfigurationError, Place, PlatformUnavailable
from orchestration.uv import is_unreachable, reason, run_uv
from orchestration.values import sha256
from orchestration.yaml_files import read_text, shown

REQUIREMENTS = "requirements.txt"
INCLUDED = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)")
COMPILE = (
    "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes",
    "--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Framework:
    """A kind of prompt flow: the files that mark it, and the name of its lock in requirements/ (empty: none)."""

    name: str
    markers: tuple[str, ...]
    lock: str


def frameworks(root: Path) -> tuple[Framework, ...]:
    """The frameworks that the runner has adapters for, in the order in which their markers count."""
    table = tomllib.loads((root / "runtime" / "frameworks.toml").read_text(encoding="utf-8"))
    return tuple(Framework(f["name"], tuple(f["markers"]), f["lock"]) for f in table["framework"])


def framework_of(root: Path, flow_folder: Path) -> tuple[Framework, Path] | None:
    """The framework whose marker file stands in the folder, and that file; None if there is no such file."""
    for framework in frameworks(root):
        for marker in framework.markers:
            for path in sorted(flow_folder.glob(marker)):
                if path.is_file():
                    return framework, path
    return None


def markers(root: Path) -> list[str]:
    """All marker files, for messages."""
    return list(dict.fromkeys(marker for framework in frameworks(root) for marker in framework.markers))


def lock_for(root: Path, flow_folder: Path, *, state: Path, tree: Path | None = None) -> str:
    """The text of the lock of a flow's runtime; empty if it needs nothing but Python.

    That of its framework, unless the folder has a requirements.txt: then both together are resolved, once
    for the same text, and kept in `state/locks`. `tree` is where the folder's project is, if not in `root`.
    Raises `ConfigurationError` with the resolver's reason, or `PlatformUnavailable`.
    """
    default = _default(root, flow_folder)
    if not (flow_folder / REQUIREMENTS).is_file():
        return read_text(default, root=root) if default else ""
    return _resolved(flow_folder, default, state=state, root=root, tree=tree or root)


def sources_of(root: Path, flow_folder: Path) -> list[Path]:
    """The files that a flow's lock is made of."""
    default = _default(root, flow_folder)
    return [*([default] if default else []), *_own(flow_folder)]


def _default(root: Path, flow_folder: Path) -> Path | None:
    """The lock of the flow's framework, if it has one."""
    found = framework_of(root, flow_folder)
    return root / "requirements" / f"{found[0].lock}.txt" if found and found[0].lock else None


def _own(flow_folder: Path) -> list[Path]:
    """The flow's requirements, and what they may include."""
    return sorted(flow_folder.glob("*.txt")) if (flow_folder / REQUIREMENTS).is_file() else []


def _resolved(flow_folder: Path, default: Path | None, *, state: Path, root: Path, tree: Path) -> str:
    own = {path.name: read_text(path, root=tree) for path in _own(flow_folder)}
    for name, text in own.items():
        _check_included(flow_folder / name, text, own, tree)
    base = read_text(default, root=root) if default else ""
    kept = state / "locks" / f"{sha256({'own': own, 'base': base, 'how': list(COMPILE)})}.txt"
    if kept.is_file():
        return read_text(kept, root=root)
    lock = _compile(flow_folder, default, state=state, tree=tree)
    _write(kept, lock)
    return lock


def _check_included(file: Path, text: str, own: Collection[str], tree: Path) -> None:
    """What is included from elsewhere would change without the lock noticing."""
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDED.match(line)
        if found and found[1].removeprefix("./") not in own:
            message = f"{found[1]} is not one of the .txt files beside it."
            raise ConfigurationError(message, at=Place(shown(file, tree), number), cure="Copy it into the folder.")


def _compile(flow_folder: Path, default: Path | None, *, state: Path, tree: Path) -> str:
    argv = [*COMPILE, REQUIREMENTS, *([str(default)] if default else [])]
    done = run_uv(argv, beside=state, cwd=flow_folder)
    if done.returncode and is_unreachable(done.stderr):
        done = run_uv([*argv, "--offline"], beside=state, cwd=flow_folder)
        if done.returncode:
            message = f"{shown(flow_folder / REQUIREMENTS, tree)} can't be resolved: the package index does not answer."
            raise PlatformUnavailable(message, cure="Check the network and run the command again.")
    if done.returncode:
        raise _unresolvable(flow_folder / REQUIREMENTS, done.stderr, tree)
    return done.stdout


def _unresolvable(file: Path, said: str, tree: Path) -> ConfigurationError:
    line, name = _culprit(read_text(file, root=tree), said)
    at = Place(shown(file, tree), line, name)
    message = f"can't be resolved: {reason(said).replace(f'{tree}/', '')}"
    return ConfigurationError(message, at=at, cure="Change the requirement, or leave it to the runtime's own lock.")


def _culprit(text: str, said: str) -> tuple[int | None, str]:
    """Line and name of the requirement that the resolver stumbled over, or the first that it names."""
    position = re.search(rf"`{REQUIREMENTS}` at position (\d+)", said)
    start = text.count("\n", 0, int(position[1])) if position else 0
    for number, line in enumerate(text.splitlines()[start:], start + 1):
        name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line)
        if name and (position or re.search(rf"(?<![\w-]){re.escape(name[1])}(?![\w-])", said, re.IGNORECASE)):
            return number, name[1]
    return (start + 1 if position else None), ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
