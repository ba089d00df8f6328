"""Reading the files of a folder as they will be kept: no caches, no hidden files, no links that lead elsewhere."""

from __future__ import annotations

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


def read_files(folder: Path, area: Area) -> dict[str, bytes]:
    """The content of every file in `folder`, by its path below it. Raises `ConfigurationError`."""
    found = sorted(_walk(folder, area, (folder.resolve(),)))
    return {path.relative_to(folder).as_posix(): read_bytes(path, area.tree) for path in found}


def read_bytes(path: Path, tree: Path) -> bytes:
    """The content of one file. Raises `ConfigurationError` that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        at = Place(shown(path, tree))
        raise ConfigurationError(f"can't be read: {error.strerror}.", at=at) from None


def _walk(folder: Path, area: Area, above: tuple[Path, ...]) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in CACHES or path.suffix == ".pyc":
            continue
        real = path.resolve()
        if real in area.skipped or shown(path, area.tree) in area.ignored:
            continue
        if not real.is_relative_to(area.inside):
            raise area.refuse(path, f"is a link that leaves {shown(area.inside, area.tree)}/.")
        if real.is_file():
            yield path
        elif not real.is_dir():
            raise area.refuse(path, "is neither a file nor a folder.")
        elif real in above:
            raise area.refuse(path, "is a link to a folder above it.")
        else:
            yield from _walk(path, area, (*above, real))
