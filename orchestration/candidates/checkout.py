"""What git says of the project: its commit, what is not committed, what is ignored, and the files of another commit."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestration.errors import ConfigurationError
from orchestration.processes import clean_environment

COMMIT = re.compile(r"[0-9a-f]{7,64}")
UNKNOWN = "unknown"
CHANGED = ("1 ", "2 ", "u ", "? ")


@dataclass(frozen=True, slots=True)
class Checkout:
    """`commit` is `unknown`, and everything counts as changed, where there is no git checkout.

    `changed` and `ignored` are paths below the project's root; an ignored folder stands for all below it.
    """

    commit: str
    changed: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()

    def is_dirty(self, paths: Collection[str]) -> bool:
        """Whether anything in these files and folders differs from the commit, or can't be in it at all."""
        changed = [PurePosixPath(each) for each in self.changed]
        return self.commit == UNKNOWN or any(self._differs(PurePosixPath(path), changed) for path in paths)

    def _differs(self, path: PurePosixPath, changed: Sequence[PurePosixPath]) -> bool:
        if path.is_absolute() or any(path.is_relative_to(each) for each in self.ignored):
            return True  # outside of the project, or never committed
        return any(path.is_relative_to(c) or (c.is_relative_to(path) and not _is_cache(c, path)) for c in changed)


def checkout(root: Path) -> Checkout:
    """The state of the checkout that `root` belongs to. Needs no git: without it the commit is unknown."""
    argv = [
        "status",
        "--porcelain=v2",
        "--branch",
        "--no-renames",
        "--ignored=matching",
        "--untracked-files=all",
        "-z",
        "--",
        ".",
    ]
    told = _git(root, argv)
    prefix = _git(root, ["rev-parse", "--show-prefix"])
    marked = _git(root, ["ls-files", "-v", "-z", "--", "."])
    if told is None or prefix is None or marked is None:
        return Checkout(UNKNOWN)
    lines = told.split("\0")
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "")
    changed = (_path(line) for line in lines if line.startswith(CHANGED))
    ignored = (line[2:].rstrip("/") for line in lines if line.startswith("! "))
    below = prefix.strip()
    return Checkout(
        commit if COMMIT.fullmatch(commit) else UNKNOWN,
        frozenset(path.removeprefix(below) for path in changed) | frozenset(_unwatched(marked)),
        frozenset(path.removeprefix(below) for path in ignored),
    )


def _unwatched(marked: str) -> Iterator[str]:
    """Files that the index tells `git status` not to look at (assume-unchanged, skip-worktree): not known to be clean."""
    for line in marked.split("\0"):
        if line and (line[0].islower() or line[0] == "S"):
            yield line[2:]


@contextlib.contextmanager
def files_of(root: Path, commit: str) -> Iterator[tuple[Path, str]]:
    """The project's files as they are in a commit, in a folder that is removed afterwards, and its full name.

    The checkout and its index are left alone. Raises `ConfigurationError` for a commit that isn't there.
    """
    full = _full_name(root, commit)
    with tempfile.TemporaryDirectory(prefix="sluice-commit-") as temporary:
        folder, index = Path(temporary).resolve(), {"GIT_INDEX_FILE": f"{temporary}/index"}
        prefix = _git(root, ["rev-parse", "--show-prefix"]) or ""
        _must(root, ["read-tree", "--end-of-options", full], index)
        listed = _must(root, ["ls-files", "-z", "--", "."], index)
        _must(root, ["checkout-index", "--stdin", "-z", f"--prefix={folder}/tree/"], index, listed)
        yield folder / "tree" / prefix.strip(), full


def _full_name(root: Path, commit: str) -> str:
    cure = "Name a commit of this repository (git log), or fetch it first."
    if not COMMIT.fullmatch(commit):
        raise ConfigurationError(f"{commit!r} is not the name of a commit: 7 to 64 of 0-9a-f.", cure=cure)
    full = _git(root, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"])
    if not full:
        raise ConfigurationError(f"there is no commit {commit} here.", cure=cure)
    return full.strip()


def _must(root: Path, argv: Sequence[str], env: Mapping[str, str], given: str = "") -> str:
    told = _git(root, argv, env, given)
    if told is None:
        raise ConfigurationError(f"git {argv[0]} failed in {root.name}.", cure="Next: git fsck")
    return told


def _git(root: Path, argv: Sequence[str], env: Mapping[str, str] | None = None, given: str = "") -> str | None:
    """What git prints; None if it fails or is absent. A hook's GIT_* variables are not passed on."""
    with contextlib.suppress(FileNotFoundError):
        done = subprocess.run(
            ["git", "--no-optional-locks", *argv],
            cwd=root,
            env=clean_environment({"LC_ALL": "C", **(env or {})}),
            input=os.fsencode(given),
            capture_output=True,
            check=False,
        )
        return os.fsdecode(done.stdout) if done.returncode == 0 else None
    return None


def _path(line: str) -> str:
    """The path of a line of `git status --porcelain=v2`; the fields before it depend on the kind of line."""
    fields = {"1": 8, "2": 9, "u": 10, "?": 1}[line[0]]
    return line.split(" ", fields)[fields]


def _is_cache(path: PurePosixPath, folder: PurePosixPath) -> bool:
    """Whether a file in the folder is one of those that are not taken."""
    return path.suffix == ".pyc" or any(
        part.startswith(".") or part == "__pycache__" for part in path.relative_to(folder).parts
    )
