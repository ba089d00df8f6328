"""Long-lived processes of a project: started detached, found again by pid and start time, ended for certain.

Each carries the path of its record in its environment as well: that is what names it in the system's process table when
the record was lost, or its starter died before it could write one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from orchestration.web_proxies import PROXIES, direct

MARK = "SLUICE_PROCESS"
# What any process of ours may inherit. Everything else (keys, PREFECT_*, AZURE_*) is given on purpose or not at all.
INHERITED = (
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NO_PROXY", "no_proxy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Daemon:
    """A process that outlives its starter. `started` is the kernel's start time: it unmasks a reused pid."""

    name: str
    pid: int
    started: float


def clean_environment(extra: Mapping[str, str] | None = None, *, web: bool = False) -> dict[str, str]:
    """The inherited allow-list plus `extra`.

    `web`: it has to reach other machines, so it gets the user's web proxies whole; to all others one with a
    password is not passed on.
    """
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    proxies = {
        name: os.environ[name] for name in PROXIES if name in os.environ and (web or "@" not in os.environ[name])
    }
    return inherited | proxies | direct(os.environ) | dict(extra or {})


def private_folder(path: Path) -> Path:
    """Create a folder that only its owner may enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file with mode 0600 in one step: a reader sees the old or the new text, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)  # a full disk gets its space back
        error.filename = error.filename or str(path)
        raise


def start(
    name: str, argv: Sequence[str], *, records: Path, log: Path, cwd: Path, environment: Mapping[str, str]
) -> Daemon:
    """Start `argv` in a session of its own, record it in `records/<name>.json`, print to `log`."""
    private_folder(records)
    _record(name, records).unlink(missing_ok=True)  # an old one would hide the new process if we die before we wrote
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**environment, MARK: _mark(name, records)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_reset_signals,  # noqa: PLW1509 - two signal calls, no locks taken
        )
    daemon = Daemon(name, process.pid, _start_time(process.pid))
    write_private(_record(name, records), json.dumps(asdict(daemon)))
    return daemon


def find(name: str, *, records: Path) -> Daemon | None:
    """The process of that name if it runs, else None: the recorded one, or without a record the one that is marked so."""
    known = _recorded(name, records)
    if known is None:
        found = [daemon for folder, daemon in left(records) if (folder, daemon.name) == (_real(records), name)]
        return min(found, key=lambda daemon: (not _leads(daemon), daemon.started), default=None)
    if alive(known):
        return known
    # A clock that was set moves every start time, so the mark is asked before a process is given up.
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(known.pid)
        if process.environ().get(MARK) == _mark(name, records):
            return Daemon(name, known.pid, process.create_time())
    return None


def left(below: Path) -> list[tuple[Path, Daemon]]:
    """Every marked process with the folder of its records, where that is, or was, in or below `below`.

    Read from the process table, so neither a record nor the folder needs to be there. What such a process started
    carries its mark too and is not listed, unless it was left behind.
    """
    inside = f"{_real(below)}{os.sep}"
    marked = {process.pid: (process, mark) for process, mark in _marked() if mark.startswith(inside)}
    found = []
    for process, mark in marked.values():
        with contextlib.suppress(psutil.NoSuchProcess):
            if marked.get(process.ppid(), (None, ""))[1] != mark:
                place = Path(mark)
                found.append((place.parent, Daemon(place.name, process.pid, process.create_time())))
    return found


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
    with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself a moment ago
        if alive(daemon):
            _end(psutil.Process(daemon.pid), grace_seconds)
    _record(daemon.name, records).unlink(missing_ok=True)


def _end(root: psutil.Process, grace_seconds: float) -> None:
    family = [root, *root.children(recursive=True)]
    _signal(root, signal.SIGTERM)
    stubborn = _living([root], grace_seconds)
    # What the root started and left behind, and the root itself if it would not go.
    for process in [*stubborn, *family[1:]]:
        _signal(process, signal.SIGKILL)
    _living(family, 5)


def _living(processes: Sequence[psutil.Process], seconds: float) -> Sequence[psutil.Process]:
    """Those that live after so many seconds. Zombies don't: in a container there may be nobody to take them away."""
    deadline = time.monotonic() + seconds
    while (living := [process for process in processes if _lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return living


def _lives(process: psutil.Process) -> bool:
    try:
        process.wait(timeout=0)  # takes away a child of our own
    except psutil.TimeoutExpired:
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _marked() -> Iterator[tuple[psutil.Process, str]]:
    """Every process that may be read and carries a mark."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK)
            if mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process, mark


def _leads(daemon: Daemon) -> bool:
    try:
        return os.getsid(daemon.pid) == daemon.pid
    except OSError:
        return False


def _mark(name: str, records: Path) -> str:
    return str(_real(records) / name)


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _record(name: str, records: Path) -> Path:
    return records / f"{name}.json"


def _recorded(name: str, records: Path) -> Daemon | None:
    try:
        data = json.loads(_record(name, records).read_text())
        return Daemon(name, int(data["pid"]), float(data["started"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:  # it has ended already
        return time.time()


def _reset_signals() -> None:
    # A shell's background job ignores SIGINT, and a Prefect worker that inherits this ignores SIGTERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
