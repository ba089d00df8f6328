"""Runtimes: the isolated Python environments in which prompt flows run, built by uv and kept by content.

A runtime's folder is named by the hash of all that goes into it. `ready` is written last and is the only thing
that makes it one; what has no `ready` was being built when someone died, and is built anew.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from orchestration.errors import PlatformUnavailable, ProvisioningFailed
from orchestration.locks import lock_for
from orchestration.polling import REAL, Clock, every, wait_until
from orchestration.uv import is_unreachable, reason, run_uv
from orchestration.values import sha256

__all__ = ["ensure_runtime", "find_runtime", "lock_for", "remove_old_runtimes", "runtime_key"]

READY = "ready"
BUILD_SECONDS = 1800.0  # a cold cache behind a slow link
POLL_SECONDS = 0.2
SOURCES = ("*.py", "*.toml", "*.typed")

Progress = Callable[[str], None]


def ensure_runtime(
    lock_text: str, *, folder: Path, root: Path, clock: Clock = REAL, progress: Progress = lambda _: None
) -> Path:
    """The interpreter of the runtime with these requirements and the project's runner; built if it isn't there.

    Only one process builds a runtime; others wait for it. Raises `ProvisioningFailed` with what uv said,
    `PlatformUnavailable` if no package index answers, `PlatformTimeout` if another's build doesn't end.
    """
    home = folder / runtime_key(lock_text, root)
    if _is_ready(home):
        return _used(home)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_file(home))
    wait_until(
        lambda: _acquired(lock),
        what=f"the runtime {home.name[:12]}, which another run is building,",
        timeout_seconds=BUILD_SECONDS,
        wait=every(POLL_SECONDS),
        clock=clock,
    )
    try:
        if not _is_ready(home):
            _build(home, lock_text, root, progress)
    finally:
        lock.release()
    return _used(home)


def find_runtime(lock_text: str, *, folder: Path, root: Path) -> Path | None:
    """The interpreter of the runtime with these requirements if it is built. Builds and touches nothing."""
    home = folder / runtime_key(lock_text, root)
    return _python(home) if _is_ready(home) else None


def runtime_key(lock_text: str, root: Path) -> str:
    """The hash of all that makes a runtime: requirements, the runner's sources, Python and the machine's kind."""
    python = [platform.python_implementation(), platform.python_version(), platform.system(), platform.machine()]
    return sha256({"lock": lock_text, "runner": _runner_hash(root / "runtime"), "python": python})[:32]


def remove_old_runtimes(
    folder: Path, keep_days: float, *, keep: Collection[Path] = (), now: float | None = None
) -> int:
    """Remove runtimes that nobody has used for so many days, and half-built ones; returns how many.

    `keep` are interpreters in use. One that is just being built is left alone.
    """
    before = (time.time() if now is None else now) - keep_days * 86_400
    kept = {path.parent.parent for path in keep}
    homes = [path for path in folder.glob("*") if path.is_dir() and path not in kept and (path / "pyvenv.cfg").exists()]
    return sum(_remove_if_old(home, before) for home in homes)


def _build(home: Path, lock_text: str, root: Path, progress: Progress) -> None:
    progress(f"building the runtime {home.name[:12]}")
    shutil.rmtree(home, ignore_errors=True)
    _uv(home, ["venv", "--quiet", "--python", sys.executable, str(home)])
    if lock_text.strip():
        requirements = home / "requirements.txt"
        requirements.write_text(lock_text, encoding="utf-8")
        _uv(home, [*_pip(home, "sync"), "--require-hashes", str(requirements)])
    # The version of the runner never changes, so uv would take an older build of it from its cache.
    _uv(home, [*_pip(home, "install"), "--no-deps", "--refresh", str(root / "runtime")])
    (home / READY).write_text(f"{platform.python_version()}\n", encoding="utf-8")


def _pip(home: Path, command: str) -> list[str]:
    return ["pip", command, "--quiet", "--compile-bytecode", "--python", str(_python(home))]


def _uv(home: Path, argv: Sequence[str]) -> None:
    """Run uv: first without the network, which a warm cache doesn't need, then with it."""
    if run_uv([*argv, "--offline"], beside=home.parent, timeout_seconds=BUILD_SECONDS).returncode == 0:
        return
    done = run_uv(argv, beside=home.parent, timeout_seconds=BUILD_SECONDS)
    if done.returncode == 0:
        return
    if is_unreachable(done.stderr):
        message = f"the runtime can't be built: {reason(done.stderr)}."
        raise PlatformUnavailable(message, cure="Check the network and run the command again.")
    cure = "Check the prompt flow's requirements.txt, or run the command again."
    raise ProvisioningFailed(f"the runtime can't be built: {reason(done.stderr)}.", logs=done.stderr, cure=cure)


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def _is_ready(home: Path) -> bool:
    return (home / READY).is_file() and _python(home).exists()


def _used(home: Path) -> Path:
    """Its interpreter; the time of the last use is that of `ready`."""
    os.utime(home / READY)
    return _python(home)


def _lock_file(home: Path) -> Path:
    return home.with_name(f"{home.name}.lock")


def _acquired(lock: FileLock) -> FileLock | None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _remove_if_old(home: Path, before: float) -> bool:
    lock = FileLock(_lock_file(home))
    if _acquired(lock) is None:
        return False
    try:
        ready = home / READY
        if ready.exists() and ready.stat().st_mtime >= before:
            return False
        ready.unlink(missing_ok=True)  # first, so that nobody takes what is being removed
        shutil.rmtree(home)  # the lock's file stays: a waiting process may have it open
    finally:
        lock.release()
    return True


def _runner_hash(folder: Path) -> str:
    files = sorted(path for pattern in SOURCES for path in folder.rglob(pattern))
    return sha256({path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files})
