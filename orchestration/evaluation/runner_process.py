"""The operating system's side of a runner: its session, its few variables, its private home, its pipes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TERM_SECONDS = 1.0
KILL_SECONDS = 5.0
_KEPT = (
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_LOOPBACK = "127.0.0.1,localhost"


@dataclass
class RunnerProcess:
    """A started `python -m sluice_runner run`, leader of its own session.

    `to_runner`, `from_runner` and `printed` are this side's ends of the pipes; who takes them over closes them.
    """

    process: subprocess.Popen[bytes]
    to_runner: int
    from_runner: int
    printed: int
    _home: str
    _killed: bool = field(default=False, init=False)

    @property
    def exit_cause(self) -> str | None:
        """`exit code 3` or `signal 9`; None while it lives."""
        code = self.process.poll()
        if code is None:
            return None
        return f"exit code {code}" if code >= 0 else f"signal {-code}"

    def kill(self) -> None:
        """End the runner and everything that it started, for certain, and remove its home. Safe to repeat.

        The runner ends its workers itself when it is asked to. Whatever is then left of its session is killed:
        workers have process groups of their own, but a session can't be left by accident.
        """
        if self._killed:
            return
        self._killed = True
        self._end(signal.SIGTERM, TERM_SECONDS)
        self._end(signal.SIGKILL, KILL_SECONDS)
        for pid in _session_members(self.process.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._home, ignore_errors=True)

    def _end(self, number: signal.Signals, seconds: float) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)


def start_process(python: Path, *, environment: Mapping[str, str]) -> RunnerProcess:
    """Start a runner. Raises `OSError` if the interpreter can't be started."""
    home = tempfile.mkdtemp(prefix="sluice-runner-")
    theirs_in, to_runner = os.pipe()
    from_runner, theirs_out = os.pipe()
    printed, output = os.pipe()
    try:
        process = _popen(python, theirs_in, theirs_out, output, {**clean_environment(home), **environment})
    except BaseException:
        for ours in (to_runner, from_runner, printed):
            os.close(ours)
        shutil.rmtree(home, ignore_errors=True)
        raise
    finally:
        for theirs in (theirs_in, theirs_out, output):
            os.close(theirs)
    return RunnerProcess(process, to_runner, from_runner, printed, home)


def _popen(
    python: Path, theirs_in: int, theirs_out: int, output: int, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    arguments = [str(python.absolute()), "-m", "sluice_runner", "run", "--in", str(theirs_in), "--out", str(theirs_out)]
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(theirs_in, theirs_out),
        start_new_session=True,  # Ctrl-C reaches us only, and all that it starts can be found
        cwd=environment["HOME"],  # `-m` puts the working directory on sys.path: let it be empty
        env=dict(environment),
    )


def clean_environment(home: str) -> dict[str, str]:
    """What user code may see of this process's variables: where programs, texts, certificates and proxies are."""
    kept = {k: v for k, v in os.environ.items() if k in _KEPT or k.startswith("LC_")}
    proxies = {k: v for k, v in os.environ.items() if k in _PROXIES and "@" not in v}  # no passwords
    beside = ",".join(filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), _LOOPBACK)))
    return {**kept, **proxies, "NO_PROXY": beside, "no_proxy": beside, "HOME": home}


def _session_members(leader: int) -> list[int]:
    """Processes of the session that a now dead process had led."""
    from psutil import pids  # noqa: PLC0415 - costs start-up time

    return [pid for pid in pids() if _session(pid) == leader]


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return -1
