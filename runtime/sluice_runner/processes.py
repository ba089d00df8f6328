"""Worker processes: forked or started anew, each in a process group of its own, each ending with its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable

from sluice_runner import printed

# macOS's system libraries don't survive a fork without an exec; SLUICE_RUNNER_SPAWN=1 does on Linux as there.
CAN_FORK = sys.platform == "linux" and os.environ.get("SLUICE_RUNNER_SPAWN") != "1"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def fork(main: Callable[[int, int], None], close: Iterable[int], read: int, write: int) -> int:
    """Fork a worker that runs `main(read, write)`; `close` names the parent's pipes, which it must not keep open."""
    parent = os.getpid()
    printed.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        for fd in close:
            os.close(fd)
        _become_worker(parent)
        main(read, write)
    except BrokenPipeError:  # the parent is gone
        os._exit(0)
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run in the child
        traceback.print_exc()
    finally:
        os._exit(70)  # an error of ours: `main` ends the process itself


def spawn(read: int, write: int) -> int:
    """Start a worker with a fresh interpreter; slower, but right where threads are about."""
    command = [sys.executable, "-m", "sluice_runner", "worker", "--in", str(read), "--out", str(write)]
    process = subprocess.Popen(command, pass_fds=(read, write), process_group=0)
    process.returncode = 0  # the supervisor reaps by pid: keep Popen from doing it
    return process.pid


def become_spawned_worker() -> None:
    """What `fork` does for its child, for a worker that was started anew."""
    _become_worker(os.getppid())


def _become_worker(parent: int) -> None:
    with contextlib.suppress(PermissionError):  # already a leader: `spawn` did it
        os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    if _libc is not None:
        # End with the parent even while user code holds the interpreter's lock and no thread can see the pipe end.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def kill(pid: int) -> str:
    """End the worker and whatever it started, reap it, and say how it had ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # not yet a group leader: forked a moment ago
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def has_ended(pid: int) -> bool:
    """Whether the process is gone but for its exit status, which stays to be collected by `kill`.

    Where the system can't tell (macOS before Python 3.13), False: the worker's silence tells, later.
    """
    if not hasattr(os, "waitid"):
        return False
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_own_group() -> None:
    """End this worker with everything it started."""
    printed.flush()
    os.killpg(os.getpgrp(), signal.SIGKILL)
