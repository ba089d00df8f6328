"""`.env`: the one file that may hold keys in clear text. Private to its owner, ignored by git, comments kept."""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

from orchestration.errors import ConfigurationError, Place
from orchestration.processes import clean_environment, write_private

NAME = ".env"
LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")


def write_env(root: Path, values: Mapping[str, str]) -> None:
    """Set these variables in `.env`; every other line stays as it is. The file is 0600 afterwards.

    Raises `ConfigurationError` if git would take the file, or for a value that a line can't hold.
    """
    refuse_tracked(root)
    path = (root / NAME).resolve()  # a link stays one
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    write_private(path, "\n".join(_replaced(lines, values)) + "\n")


def refuse_tracked(root: Path) -> None:
    """Raise `ConfigurationError` if git doesn't ignore `.env`: a key in it would be committed some day."""
    if is_ignored(root) is False:
        cure = "Add a line .env to .gitignore (and `git rm --cached .env` if it is committed)."
        raise ConfigurationError("git does not ignore this file, which is to hold keys.", at=Place(NAME), cure=cure)


def is_ignored(root: Path) -> bool | None:
    """Whether git ignores `.env`; None where there is no git checkout."""
    inside = _git(root, "rev-parse", "--is-inside-work-tree")
    if inside != 0:
        return None
    return _git(root, "check-ignore", "--quiet", NAME) == 0


def is_private(root: Path) -> bool:
    """Whether nobody but its owner may read or write `.env`; a missing one is private."""
    path = root / NAME
    return not path.exists() or not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def _replaced(lines: list[str], values: Mapping[str, str]) -> list[str]:
    """The lines with each variable set once: where it stood last, or at the end."""
    left = {name: f"{name}={_quoted(name, value)}" for name, value in values.items()}
    kept: list[str] = []
    for line in reversed(lines):
        found = LINE.match(line)
        if found is None or found[1] not in values:
            kept.append(line)
        elif found[1] in left:
            kept.append(left.pop(found[1]))
    return [*reversed(kept), *left.values()]


def _quoted(name: str, value: str) -> str:
    """The value as it reads back; quotes only where it needs them."""
    if not value or not value.isprintable():
        raise ConfigurationError(f"the value of {name} is empty or has characters that no line can hold.")
    if value == value.strip() and " #" not in value and value[0] not in "\"'":
        return value
    mark = next((mark for mark in "\"'" if mark not in value), None)
    if mark is None:
        raise ConfigurationError(f"the value of {name} has both kinds of quotes.", cure="Keep it in a file instead.")
    return f"{mark}{value}{mark}"


def _git(root: Path, *arguments: str) -> int | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=root,
            env=clean_environment(),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.returncode
