"""Inside a worker process: opens the prompt flow, runs each row in a thread, and tells the supervisor.

Lines from the supervisor: `open JSON`, `row N JSON`, `aggregate JSON`. Lines to it: `beat`, `ready JSON`,
`failed JSON`, `started N JSON`, `result N JSON`, `metrics JSON`, `unaggregated JSON`. JSON is a message of the runner
protocol, which the supervisor passes on unread; N is the supervisor's own number of the row.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sluice_runner import PROTOCOL, printed, processes
from sluice_runner.adapters import open_flow
from sluice_runner.adapters.base import AdapterFailed, Executor, OpenFailed, RowFailed, Tokens, describe
from sluice_runner.lines import encode, plain

BEAT_SECONDS = 0.4
NO_TOKENS = Tokens(prompt=0, completion=0)


class Reporter:
    """Writes lines to the supervisor, which always reads; any thread may call it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, head: str, line: bytes = b"\n") -> None:
        """Write `head` and a protocol line (which ends in a newline) as one line."""
        data = memoryview(head.encode("ascii") + line)
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]

    def beat(self) -> None:
        """Say for ever that threads of this process still get to run."""
        while True:
            self.send("beat")
            time.sleep(BEAT_SECONDS)


class Threads:
    """Runs each job at once in a thread: an idle one, else a new one, so that a row that hangs blocks nobody."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def start(self, job: Callable[[], None]) -> None:
        with self._lock:
            reuse = self._idle > 0
            self._idle -= reuse
        self._jobs.put(job)
        if not reuse:
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            self._jobs.get()()
            with self._lock:
                self._idle += 1


class Worker:
    """One opened prompt flow and the messages about it."""

    def __init__(self, executor: Executor, reporter: Reporter, *, trace: bool) -> None:
        self._executor, self._reporter, self._trace = executor, reporter, trace

    def run_row(self, number: str, line: bytes) -> None:
        message = json.loads(line)
        self._reporter.send(f"started {number} ", encode({"type": "started", "id": message["id"]}))
        started = time.monotonic()
        answer = self._answer(message)
        head = {"type": "result", "id": message["id"], "seconds": time.monotonic() - started}
        printed.flush()
        self._reporter.send(f"result {number} ", _encode_result(head, answer, trace=self._trace))

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            outcome = self._executor.run_row(message["inputs"], row_id=message["id"], trace=self._trace)
        except RowFailed as error:
            return _failure(error.code, error.message, error.where, nodes=error.nodes, tokens=error.tokens)
        except BaseException as error:  # noqa: BLE001 - the line between user code and the runner
            return _failure("Raised", describe(error), "")
        return {"status": "completed", "output": outcome.output, "tokens": outcome.tokens, "nodes": outcome.nodes}

    def _aggregate(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._executor.aggregate(message["inputs"], message["outputs"])
        finally:
            printed.flush()

    def aggregate(self, line: bytes) -> None:
        message = json.loads(line)
        try:
            values = self._aggregate(message)
        except RowFailed as error:
            self._reporter.send("unaggregated ", encode(_failed(error)))
        except BaseException as error:  # noqa: BLE001 - the line between user code and the runner
            self._reporter.send("unaggregated ", encode(_failed(RowFailed("Raised", describe(error)))))
        else:
            self._reporter.send("metrics ", encode({"type": "metrics", "values": plain(values)}))


def main(read: int, write: int) -> None:
    """Serve the supervisor until its pipe ends; then end this process and everything it started."""
    reporter = Reporter(write)
    threading.Thread(target=reporter.beat, daemon=True).start()
    with os.fdopen(read, "rb") as lines:
        try:
            worker = _open(json.loads(next(lines).partition(b" ")[2]), reporter)
        except OpenFailed as error:
            printed.flush()  # the supervisor ends this process as soon as it hears of it
            reporter.send("failed ", encode(_failed(error)))
        else:
            _serve(worker, lines)
    processes.kill_own_group()


def _open(message: dict[str, Any], reporter: Reporter) -> Worker:
    executor = open_flow(message)
    ready = {"type": "ready", "protocol": PROTOCOL, "framework": executor.framework, "kind": executor.kind}
    ready |= {"inputs": plain(executor.inputs), "outputs": plain(executor.outputs)}
    reporter.send("ready ", encode(ready | {"aggregation": executor.aggregation}))
    return Worker(executor, reporter, trace=bool(message.get("trace")))


def _serve(worker: Worker, lines: Any) -> None:
    threads = Threads()
    for line in lines:
        kind, _, rest = line.partition(b" ")
        if kind == b"row":
            number, _, text = rest.partition(b" ")
            threads.start(partial(worker.run_row, number.decode(), text))
        else:
            threads.start(partial(worker.aggregate, rest))


def _failed(error: AdapterFailed) -> dict[str, Any]:
    return {"type": "failed", "code": error.code, "message": error.message, "where": error.where}


def _failure(code: str, message: str, where: str, *, nodes: Any = (), tokens: Tokens = NO_TOKENS) -> dict[str, Any]:
    error = {"code": code, "message": message, "where": where}
    return {"status": "failed", "error": error, "tokens": tokens, "nodes": nodes}


def _encode_result(head: dict[str, Any], answer: dict[str, Any], *, trace: bool) -> bytes:
    nodes = answer.pop("nodes")
    traced = {"nodes": _encodable(nodes)} if trace else {}
    try:
        return encode(head | answer | traced)
    except (TypeError, ValueError, RecursionError) as error:
        bad = _failure("BadOutput", f"the output is not a JSON value: {describe(error)}", "", tokens=answer["tokens"])
        del bad["nodes"]
        return encode(head | bad | traced)


def _encodable(nodes: Any) -> Any:
    """The trace as JSON data, or nothing where it holds what can't be shown: that is no reason to fail a row."""
    try:
        shown = plain(nodes)
        encode({"nodes": shown})
    except Exception:  # noqa: BLE001 - __str__ of what a trace holds is user code
        return []
    return shown
