"""Checks that a mounted model holds what was judged: by the content hash that the decision names.

The hash covers the prompt flow's files, its deployment files, its lock and the variant. It is sha256 of canonical JSON,
as the orchestrator makes it for a candidate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("flow", "deployments")
LOCK = "lock.txt"
BYTECODE = "__pycache__"


class ModelChanged(Exception):
    """The mounted files are not what was judged and registered."""


def check(folder: Path, content_hash: str, *, variant: str | None) -> None:
    """Raises `ModelChanged` if the model in `folder` has other content; bytecode is not looked at."""
    files = {path.relative_to(folder).as_posix(): _sha256(path.read_bytes()) for path in _files(folder)}
    content = {"files": files, "variant": variant}
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    found = _sha256(canonical.encode())
    if found != content_hash:
        message = f"{folder} holds other content than was judged: {found[:12]}, not {content_hash[:12]}"
        raise ModelChanged(message)


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in (folder / LOCK,) if path.is_file())
    for name in FOLDERS:
        for path in (folder / name).rglob("*"):
            if path.is_file() and BYTECODE not in path.relative_to(folder).parts:
                yield path


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
