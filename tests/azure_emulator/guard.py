"""`python guard.py COMMAND ...`: runs a command until it ends or standard input does, and then ends all it started.

A process that dies, however it dies, closes its end of the pipe: so nothing that it started outlives it. Standard
library only, and no imports of ours: it runs with any interpreter, isolated.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Run the command in a process group of its own; returns its exit code, 128 + n for signal n."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_watch_input, args=(process.pid,), daemon=True).start()
    code = process.wait()
    end_group(process.pid)
    return code if code >= 0 else 128 - code


def end_group(group: int) -> None:
    """Kill every process of the group that is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter for a group of zombies
        os.killpg(group, signal.SIGKILL)


def _watch_input(group: int) -> None:
    while os.read(0, 65536):
        pass
    end_group(group)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C is for the owner of the pipe to answer
    sys.exit(main(sys.argv[1:]))
