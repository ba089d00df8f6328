"""`python -m sluice_runner run|serve --in FD --out FD`; see docs/runner-protocol.md. `worker` is for `run` alone."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import traceback
from pathlib import Path

from sluice_runner import printed
from sluice_runner.adapters import clean_up


def main() -> None:
    parser = argparse.ArgumentParser(prog="sluice_runner", description="Runs one prompt flow for Sluicegate.")
    parser.add_argument("command", choices=("run", "serve", "worker"))
    parser.add_argument("--in", dest="read", type=int, required=True, metavar="FD", help="pipe with messages to obey")
    parser.add_argument("--out", dest="write", type=int, required=True, metavar="FD", help="pipe for the answers")
    arguments = parser.parse_args()
    _guard(arguments.read, arguments.write)
    try:
        code = {"run": _run, "serve": _serve, "worker": _work}[arguments.command](arguments.read, arguments.write)
    except Exception:  # noqa: BLE001 - an error of ours, shown before the process ends without further ado
        traceback.print_exc()
        code = 70
    clean_up()
    printed.flush()
    os._exit(code)  # at once: threads of user code that hang don't hold the process


def _guard(read: int, write: int) -> None:
    """Keep user code off the pipes, standard input and what the orchestrator happens to have in its folder."""
    os.set_inheritable(read, False)
    os.set_inheritable(write, False)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what is printed shall outlive a process that is killed
    if not sys.flags.safe_path and sys.path and Path(sys.path[0]) == Path.cwd():  # `-m` puts it there
        del sys.path[0]


def _run(read: int, write: int) -> int:
    from sluice_runner.supervisor import Supervisor  # noqa: PLC0415 - each command loads only its own

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the orchestrator's to answer
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return Supervisor(read, write).run()
    except SystemExit as stopped:
        return int(stopped.code or 0)


def _serve(read: int, write: int) -> int:
    from sluice_runner.serve import main as serve  # noqa: PLC0415 - each command loads only its own

    return int(serve(read, write) or 0)


def _work(read: int, write: int) -> int:
    from sluice_runner import processes, worker  # noqa: PLC0415 - each command loads only its own

    processes.become_spawned_worker()
    worker.main(read, write)
    return 0


if __name__ == "__main__":
    main()
