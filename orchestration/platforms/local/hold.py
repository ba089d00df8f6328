"""The one lock of an endpoint: a file lock that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import filelock

from orchestration.errors import EndpointHeld
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.processes import write_private


@contextlib.contextmanager
def held(folder: EndpointFolder, owner: str) -> Iterator[None]:
    """Hold the endpoint for the length of the block. Raises `EndpointHeld`, naming the holder, if it is held."""
    holder = folder.side_file("holder.json")
    lock = filelock.FileLock(folder.side_file("hold"), timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise EndpointHeld(
            f"The endpoint {folder.name} is held by {_describe(holder)}.", cure="Try again when that has ended."
        ) from None
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        write_private(holder, json.dumps({"owner": owner, "pid": os.getpid(), "since": since}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _describe(holder: Path) -> str:
    try:
        info = json.loads(holder.read_text())
        return f"{info['owner']} (pid {info['pid']}, since {info['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"  # it took the lock a moment ago
