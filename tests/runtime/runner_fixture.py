"""Starts the real runner, as the orchestrator does, and speaks the protocol with it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
WAIT = 60.0


class Runner:
    """One runner process; a context manager that leaves no process behind."""

    def __init__(self, flow, *, python=sys.executable, env=None, read=True, log=None, **opening):
        theirs_read, self.write = os.pipe()
        self.read, theirs_write = os.pipe()
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPATH": str(RUNTIME), **(env or {})}
        self.process = subprocess.Popen(
            [str(python), "-m", "sluice_runner", "run", "--in", str(theirs_read), "--out", str(theirs_write)],
            pass_fds=(theirs_read, theirs_write),
            stdin=subprocess.DEVNULL,
            stdout=log or subprocess.DEVNULL,
            stderr=log or subprocess.DEVNULL,
            env=environment,
        )
        os.close(theirs_read)
        os.close(theirs_write)
        self._lines = queue.Queue()
        if read:
            self.start_reading()
        self.send(
            **{"type": "open", "protocol": 1, "flow": str(flow), "variant": None, "connections": {}, "overrides": {}}
            | {"concurrency": 8, "trace": False, "unresponsive_seconds": 5}
            | opening
        )

    def start_reading(self):
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with os.fdopen(self.read, "rb") as lines:
            for line in lines:
                assert line.isascii()
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def send(self, **message):
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self.write, data) :]

    def next(self, *kinds):
        """The next message of one of the kinds; heartbeats are left out unless asked for."""
        deadline = time.monotonic() + WAIT
        while True:
            message = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            assert message is not None, f"the runner ended before it said {kinds}"
            if message["type"] in kinds or (not kinds and message["type"] != "heartbeat"):
                return message

    def ready(self):
        message = self.next("ready", "failed")
        assert message["type"] == "ready", message
        return message

    def run(self, rows, *, alone=False):
        """Send rows (id -> inputs) and collect how each ended: id -> result, or the cause of its loss."""
        for row, inputs in rows.items():
            self.send(type="row", id=row, inputs=inputs, alone=alone)
        return self.collect(rows)

    def collect(self, rows):
        ended = {}
        while set(ended) < set(rows):
            message = self.next("result", "lost")
            if message["type"] == "lost":
                ended |= dict.fromkeys(message["ids"], message["cause"])
            else:
                ended[message["id"]] = message
        return ended

    def tree(self):
        """The runner and all processes below it, as they are now."""
        runner = psutil.Process(self.process.pid)
        return [runner, *runner.children(recursive=True)]

    def close(self):
        self.send(type="close")
        return self.process.wait(WAIT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.write)
        self.process.wait(WAIT)


def assert_gone(processes, seconds=10.0):
    """Wait until all are gone; zombies that somebody else has to reap count as gone."""
    deadline = time.monotonic() + seconds
    while living := [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline, living
        time.sleep(0.02)


def make_callable(folder, code, config='entry = "flow:run"\noutputs = ["answer"]\n'):
    """Write a callable flow and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "callable.toml").write_text(config)
    (folder / "flow.py").write_text(code)
    return folder
