"""The private Prefect server: loopback only, authenticated, state under `.sluice/prefect`, kept until `sluice down`.

Two generated files hold its settings (both 0600, both ignored by git): `.sluice/prefect/prefect.toml` for the server, and
`prefect.toml` in the project's folder for every Prefect command there (`prefect deployment run …`), so that
nothing has to be exported. Nothing here imports Prefect: that takes a second.
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock

from orchestration import processes
from orchestration.databases import damage
from orchestration.errors import ConfigurationError, PlatformError, PlatformUnavailable
from orchestration.polling import REAL, Clock, every, wait_until
from orchestration.references import read_environment

MARK = "# Written by sluice; removed by `sluice down`. Holds a generated key: keep it out of git."
NAME = "prefect-server"
START_SECONDS = 90  # the first start makes the database


@dataclass(frozen=True, slots=True)
class Server:
    """Where Prefect's API is. `own` says whether this project started it."""

    api_url: str
    own: bool

    @property
    def ui_url(self) -> str:
        return self.api_url.removesuffix("/api")


def user_api_url(root: Path) -> str | None:
    """The Prefect API that the user chose: environment, `.env`, own prefect.toml, or the active profile."""
    if url := read_environment(root).get("PREFECT_API_URL"):
        return url
    text = _text(root / "prefect.toml")
    if text and not text.startswith(MARK):
        return _optional(_api(_toml(root / "prefect.toml")).get("url"))
    return _profile_url()


def ensure_server(root: Path, state: Path, *, port: int = 0, clock: Clock = REAL) -> Server:
    """The user's server, or the private one, started if it doesn't run.

    Raises `PlatformTimeout`, `PlatformError` if it can't start, `ConfigurationError` for a port or a file in its way.
    """
    if url := user_api_url(root):
        return Server(url, own=False)
    home = processes.private_folder(state / "prefect")
    with FileLock(home / "start.lock"):
        running = processes.find(NAME, records=home)
        if running is None or _address(root) is None:
            _check(root, home)
            if running is not None:
                processes.stop(running, records=home)
            _configure(root, home, port)
            _start(home)
        wait_until(
            lambda: _answers(root, home),
            what=f"The Prefect server (log: {_shown(home / 'server.log', root)})",
            timeout_seconds=START_SECONDS,
            wait=every(0.2),
            clock=clock,
        )
    return Server(str(_address(root)), own=True)


def find_server(root: Path, state: Path) -> Server | None:
    """The server that is in use, without starting one."""
    if url := user_api_url(root):
        return Server(url, own=False)
    address = _address(root)
    return Server(address, own=True) if address and private_server_runs(state) else None


def private_server_runs(state: Path) -> bool:
    """Whether the process lives; it may be of no use without its generated file."""
    return processes.find(NAME, records=state / "prefect") is not None


def stop_server(root: Path, state: Path) -> bool:
    """End the private server; True if there was one. Its database stays."""
    home = state / "prefect"
    running = processes.find(NAME, records=home)
    if running is not None:
        processes.stop(running, records=home, grace_seconds=20)
    if _text(root / "prefect.toml").startswith(MARK):
        (root / "prefect.toml").unlink()
    return running is not None


def credentials(root: Path) -> tuple[str, str] | None:
    """User and password of the private server, from the generated file."""
    user, _, password = _generated(root, "auth_string").partition(":")
    return (user, password) if password else None


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = [line.strip() for line in _text(log).splitlines()]
    return next((line.rstrip(".") for line in reversed(lines) if line), "it printed nothing")


def _address(root: Path) -> str | None:
    """The private server's API; None if the generated file is gone, or another's."""
    return _generated(root, "url") or None


def _generated(root: Path, key: str) -> str:
    """A value of `[api]` in the generated file; empty if there is none, also if the file was cut short."""
    text = _text(root / "prefect.toml")
    try:
        return str(_api(tomllib.loads(text)).get(key, "")) if text.startswith(MARK) else ""
    except tomllib.TOMLDecodeError:
        return ""


def _api(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    found = settings.get("api")
    return found if isinstance(found, Mapping) else {}


def _check(root: Path, home: Path) -> None:
    """What would keep the server from starting, or would be lost by it."""
    mine, database = root / "prefect.toml", home / "prefect.db"
    if mine.exists() and not _text(mine).startswith(MARK):
        message = "prefect.toml: it is yours and names no server, so the private server can't leave its address there."
        raise ConfigurationError(
            message, cure="Set api.url in it, or move its settings to [tool.prefect] in pyproject.toml."
        )
    if problem := damage(database):
        message = f"The Prefect server's database {_shown(database, root)} can't be read: {problem}."
        raise PlatformError(message, cure="Move it away: only the history of runs and the blocks in it are lost.")


def _configure(root: Path, home: Path, port: int) -> None:
    known = _toml(home / "prefect.toml") if (home / "prefect.toml").exists() else {}
    server = known.get("server", {})
    auth = _api(known).get("auth_string") or f"sluice:{secrets.token_urlsafe(24)}"
    key = server.get("encryption_key") or base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    port = _usable_port(port, server.get("api", {}).get("port"))
    client = (
        f'{MARK}\nhome = "{home}"\n\n[api]\nurl = "http://127.0.0.1:{port}/api"\nauth_string = "{auth}"\n\n'
        f'[results]\nlocal_storage_path = "{home}/results"\ndefault_serializer = "json"\n\n'
    )
    service = (
        f'[server]\nanalytics_enabled = false\nmemo_store_path = "{home}/memo.toml"\nencryption_key = "{key}"\n\n'
        f'[server.api]\nhost = "127.0.0.1"\nport = {port}\nauth_string = "{auth}"\n\n'
        # Each write of its own by the recorder can make the next request of a run meet a locked database: the server
        # answers 503 then, and Prefect's client waits two seconds.
        "[server.services.task_run_recorder]\nbatch_size = 50\nflush_interval = 1\n"
    )
    processes.write_private(home / "prefect.toml", client + service)
    processes.write_private(root / "prefect.toml", client)


def _start(home: Path) -> None:
    prefect = Path(sys.executable).parent / "prefect"
    # cwd is where Prefect looks for prefect.toml.
    processes.start(
        NAME,
        [str(prefect), "server", "start"],
        records=home,
        log=home / "server.log",
        cwd=home,
        environment=processes.clean_environment(),
    )


def _answers(root: Path, home: Path) -> bool | None:
    """True when a real route answers: /health alone is 200 on a server whose routes are all broken."""
    if processes.find(NAME, records=home) is None:
        log = home / "server.log"
        raise PlatformUnavailable(f"The Prefect server ended while starting: {last_line(log)}.", cure=f"See {log}.")
    try:
        answer = httpx.get(f"{_address(root)}/admin/version", auth=credentials(root), timeout=5)
    except httpx.TransportError:
        return None
    return True if answer.status_code == httpx.codes.OK else None


def _usable_port(asked: int, last: int | None) -> int:
    if asked and not _free(asked):
        raise ConfigurationError(
            f"config: prefect.port: port {asked} is in use.", cure="Choose another, or 0 for any free one."
        )
    if asked:
        return asked
    if last and _free(last):
        return last
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _profile_url() -> str | None:
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    path = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    if not path.exists():
        return None
    profiles = _toml(path)
    active = os.environ.get("PREFECT_PROFILE", profiles.get("active", ""))
    return _optional(profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL"))


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or no text at all
        raise ConfigurationError(f"{path}: {error}.", cure="Repair or remove the file.") from None


def _optional(value: object) -> str | None:
    return str(value) if value else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
