"""Long-lived processes of a project: started detached, found again by pid and start time, ended for certain."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

# What any process of ours may inherit. Everything else (keys, PREFECT_*, AZURE_*) is given on purpose or not at all.
INHERITED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Daemon:
    """A process that outlives its starter. `started` is the kernel's start time: it unmasks a reused pid."""

    name: str
    pid: int
    started: float


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The inherited allow-list plus `extra`."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(extra or {})


def private_folder(path: Path) -> Path:
    """Create a folder that only its owner may enter."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 in one step: a reader sees the old or the new text, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def start(
    name: str, argv: Sequence[str], *, records: Path, log: Path, cwd: Path, environment: Mapping[str, str]
) -> Daemon:
    """Start `argv` in a session of its own, record it in `records/<name>.json`, print to `log`."""
    private_folder(records)
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_reset_signals,  # noqa: PLW1509 - two signal calls, no locks taken
        )
    daemon = Daemon(name, process.pid, psutil.Process(process.pid).create_time())
    write_private(records / f"{name}.json", json.dumps(asdict(daemon)))
    return daemon


def find(name: str, *, records: Path) -> Daemon | None:
    """The recorded process if it is still that one, else None."""
    try:
        daemon = Daemon(**json.loads((records / f"{name}.json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return daemon if alive(daemon) else None


def alive(daemon: Daemon) -> bool:
    """Whether that very process still runs."""
    try:
        process = psutil.Process(daemon.pid)
        same = abs(process.create_time() - daemon.started) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop(daemon: Daemon, *, records: Path, grace_seconds: float = 10) -> None:
    """End the process and all that descend from it: first politely, after `grace_seconds` by force."""
    if alive(daemon):
        root = psutil.Process(daemon.pid)
        family = [root, *root.children(recursive=True)]
        _signal(root, signal.SIGTERM)
        _, left = psutil.wait_procs([root], timeout=grace_seconds)
        # What the root started and left behind, and the root itself if it would not go.
        for process in [*left, *family[1:]]:
            _signal(process, signal.SIGKILL)
        psutil.wait_procs(family, timeout=5)
    (records / f"{daemon.name}.json").unlink(missing_ok=True)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _reset_signals() -> None:
    # A shell's background job ignores SIGINT, and a Prefect worker that inherits this ignores SIGTERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
