"""Reading the files of a folder as they will be kept: no caches, no hidden files, no links that lead elsewhere."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestration.errors import ConfigurationError, Place
from orchestration.yaml_files import shown

CACHES = frozenset({"__pycache__"})


@dataclass(frozen=True, slots=True)
class Area:
    """Where files may come from: the project's tree, the part of it that links must not leave, what to leave out.

    `skipped` are resolved paths; `ignored` are what git ignores, relative to the tree.
    """

    tree: Path
    inside: Path
    skipped: frozenset[Path] = frozenset()
    ignored: Collection[str] = ()

    def refuse(self, path: Path, message: str) -> ConfigurationError:
        return ConfigurationError(
            message, at=Place(shown(path, self.tree)), cure="Copy what is needed into the folder."
        )

    def leaves_out(self, path: Path, real: Path) -> bool:
        """Whether this file or folder, which really is `real`, is not to be taken."""
        names = {shown(path, self.tree), shown(real, self.tree.resolve())}
        return real in self.skipped or not names.isdisjoint(self.ignored)


def read_files(folder: Path, area: Area) -> dict[str, bytes]:
    """The content of every file in `folder`, by its path below it. Raises `ConfigurationError`."""
    found = sorted(path for path in _walk(folder, area, (folder.resolve(),)) if path.is_file())
    return {path.relative_to(folder).as_posix(): read_bytes(path, area.tree) for path in found}


def links_in(folder: Path, area: Area) -> list[Path]:
    """The links among what `read_files` reads, those to folders too. Raises `ConfigurationError`."""
    return [path for path in _walk(folder, area, (folder.resolve(),)) if path.is_symlink()]


def read_bytes(path: Path, tree: Path) -> bytes:
    """The content of one file. Raises `ConfigurationError` that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        at = Place(shown(path, tree))
        raise ConfigurationError(f"can't be read: {error.strerror}.", at=at) from None


def real_path(path: Path) -> Path:
    """What the path is without links; unlike `resolve`, this bears with a link that leads to itself."""
    return Path(os.path.realpath(path))


def trail(path: Path, tree: Path) -> Iterator[Path]:
    """Every link on the way from `tree` to what `path` really is, then that itself, all by their resolved folders."""
    below = path.relative_to(tree) if path.is_relative_to(tree) else path.resolve().relative_to(tree.resolve())
    here, rest = tree.resolve(), deque(below.parts)
    while rest:
        part = rest.popleft()
        if part == "..":
            here = here.parent
            continue
        here /= part
        if here.is_symlink():
            yield here
            target = here.readlink()
            here = Path(target.anchor) if target.is_absolute() else here.parent
            rest.extendleft(reversed(target.relative_to(target.anchor).parts))
    yield here


def _walk(folder: Path, area: Area, above: tuple[Path, ...]) -> Iterator[Path]:
    """Every file and folder that is taken."""
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in CACHES or path.suffix == ".pyc":
            continue
        real = real_path(path)
        if area.leaves_out(path, real):
            continue
        if not real.is_relative_to(area.inside):
            raise area.refuse(path, f"is a link that leaves {shown(area.inside, area.tree)}/.")
        if not (real.is_file() or real.is_dir()):
            raise area.refuse(path, "is neither a file nor a folder.")
        if real in above:
            raise area.refuse(path, "is a link to a folder above it.")
        yield path
        if real.is_dir():
            yield from _walk(path, area, (*above, real))
