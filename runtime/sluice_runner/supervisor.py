"""The parent process: one thread, no user code. It owns the workers and passes their lines on.

It never blocks: not on the orchestrator, which may read slowly, nor on a worker, which may hang or die.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sluice_runner import PROTOCOL
from sluice_runner.adapters.base import OpenFailed
from sluice_runner.handles import Handle
from sluice_runner.lines import LineReader, OutBuffer, encode
from sluice_runner.loop import Loop
from sluice_runner.starter import Starter, prepare

TICK_SECONDS = 0.4
UNRESPONSIVE_SECONDS = 10.0
MOST_ALONE = 8  # processes for suspects at a time
MOST_HUNG = 16  # abandoned rows after which a worker is replaced, to get its threads back
LAST_WORDS_SECONDS = 5.0


class Finished(Exception):
    """The runner is to end with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Supervisor:
    """Everything that the parent knows. `run` returns the exit code, with no worker left."""

    def __init__(self, read: int, write: int) -> None:
        self._loop = Loop()
        self._input = LineReader(read)
        self._output = OutBuffer(write)
        self._loop.listen(read, self._hear_orchestrator)
        self._starter: Starter | None = None
        self._unresponsive = UNRESPONSIVE_SECONDS
        self._handles: list[Handle] = []
        self._waiting: deque[tuple[str, bytes]] = deque()  # `alone` rows without a worker yet: id, line
        self._count = 0
        self._said_ready = False
        self._obeys: dict[str, Callable[[dict[str, Any], bytes], None]] = {
            "row": self._obey_row,
            "cancel": self._obey_cancel,
            "aggregate": self._obey_aggregate,
        }

    def run(self) -> int:
        try:
            ticked = time.monotonic()
            while True:
                self._loop.wait(ticked + TICK_SECONDS - time.monotonic())
                if (now := time.monotonic()) >= ticked + TICK_SECONDS:
                    self._tick(now, paused=now > ticked + 4 * TICK_SECONDS)
                    ticked = now
                self._loop.write(self._output)
                for handle in self._handles:
                    handle.write(self._loop)
        except Finished as finished:
            self._output.finish(LAST_WORDS_SECONDS if finished.code else 0)
            return finished.code
        except BrokenPipeError:  # the orchestrator is gone
            return 0
        finally:
            for handle in self._handles:
                handle.end()

    # ---- the orchestrator's messages

    def _hear_orchestrator(self) -> None:
        lines, ended = self._input.read()
        for line in lines:
            self._obey(line)
        if ended:
            raise Finished(0)

    def _obey(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            kind = message["type"]
            if kind == "close":
                raise Finished(0)
            if kind == "prepare" and self._starter is None:
                self._prepare(message)
            elif kind == "open" and self._starter is None:
                self._open(message, line)
            elif self._starter is None:
                self._fail("Protocol", f"{kind} before open")
            else:
                self._obeys[kind](message, line)
        except (ValueError, KeyError, TypeError) as error:
            self._fail("Protocol", f"not a message of the runner protocol: {type(error).__name__}: {error}")

    def _prepare(self, message: dict[str, Any]) -> None:
        try:
            prepare(Path(message["flow"]))
        except OpenFailed as error:
            self._fail(error.code, error.message, error.where)

    def _open(self, message: dict[str, Any], line: bytes) -> None:
        if message["protocol"] != PROTOCOL:
            self._fail("Protocol", f"this runner speaks protocol {PROTOCOL}, not {message['protocol']}")
        self._unresponsive = float(message.get("unresponsive_seconds", UNRESPONSIVE_SECONDS))
        try:
            self._starter = Starter(message, line)
        except OpenFailed as error:
            self._fail(error.code, error.message, error.where)
        for _ in range(int(message.get("workers", 1))):
            self._start(temporary=False)

    def _obey_row(self, message: dict[str, Any], line: bytes) -> None:
        if message.get("alone"):
            self._waiting.append((message["id"], line))
            self._start_alone()
        else:
            self._give(min(self._pool(), key=lambda handle: len(handle.rows)), message["id"], line)

    def _obey_cancel(self, message: dict[str, Any], _: bytes) -> None:
        self._waiting = deque(row for row in self._waiting if row[0] != message["id"])
        for handle in list(self._handles):
            handle.abandon(message["id"])
            if len(handle.hung) >= MOST_HUNG and not handle.temporary:
                handle.temporary = True
                self._start(temporary=False)
            self._settle(handle)

    def _obey_aggregate(self, _: dict[str, Any], line: bytes) -> None:
        handle = self._pool()[0]
        handle.aggregating = True
        handle.send(b"aggregate " + line)

    # ---- workers

    def _pool(self) -> list[Handle]:
        return [handle for handle in self._handles if not handle.temporary]

    def _start(self, *, temporary: bool) -> Handle:
        assert self._starter is not None
        close = [self._input.fd, self._output.fd, *self._loop.fds]
        close += [fd for other in self._handles for fd in other.fds]
        handle = self._starter.start(close, temporary=temporary)
        self._handles.append(handle)
        self._loop.listen(handle.reader.fd, lambda: self._hear_worker(handle))
        return handle

    def _start_alone(self) -> None:
        while self._waiting and sum(handle.temporary for handle in self._handles) < MOST_ALONE:
            self._give(self._start(temporary=True), *self._waiting.popleft())

    def _give(self, handle: Handle, row: str, line: bytes) -> None:
        self._count += 1
        handle.rows[self._count] = row
        handle.send(b"row %d " % self._count + line)

    def _hear_worker(self, handle: Handle) -> None:
        lines, ended = handle.reader.read()
        handle.seen = time.monotonic()
        for line in lines:
            self._pass_on(handle, line)
        self._settle(handle)
        if ended and handle in self._handles:
            self._bury(handle)

    def _pass_on(self, handle: Handle, line: bytes) -> None:
        kind, _, rest = line.partition(b" ")
        match kind:
            case b"started" | b"result":
                number, _, text = rest.partition(b" ")
                if int(number) in handle.rows:
                    self._say(text)
                if kind == b"result":
                    handle.forget(int(number))
            case b"metrics" | b"unaggregated":
                handle.aggregating = False
                self._say(rest)
            case b"ready":
                handle.ready = True
                if not self._said_ready:
                    self._said_ready = True
                    self._say(rest)
            case b"failed":
                self._say(rest)
                raise Finished(1)

    def _settle(self, handle: Handle) -> None:
        """End a temporary worker that has nothing left to do, which makes room for the next."""
        if handle.temporary and not handle.rows and not handle.aggregating and handle in self._handles:
            self._remove(handle)
            self._start_alone()

    def _bury(self, handle: Handle, cause: str = "") -> None:
        """A worker has died, or has to: say who is lost with it, and put another in its place."""
        for line in handle.reader.drain():
            self._pass_on(handle, line)
        ending = self._remove(handle)
        cause = cause or ending
        if not handle.ready:
            self._fail("Crashed", f"the process ended while it opened the prompt flow: {cause}")
        if handle.rows:
            self._say_message({"type": "lost", "ids": list(handle.rows.values()), "cause": cause})
        if handle.aggregating:
            self._say_failed("Crashed", f"the process ended in the aggregation: {cause}")
        if not handle.temporary:
            self._start(temporary=False)
        self._start_alone()

    def _remove(self, handle: Handle) -> str:
        self._handles.remove(handle)
        self._loop.forget(*handle.fds)
        return handle.end()

    def _tick(self, now: float, *, paused: bool) -> None:
        """Look after the workers. After a pause of this process itself their silence proves nothing."""
        for handle in list(self._handles):
            if paused:
                handle.seen = now
            if handle.has_ended():  # seen here only if a process that it started holds its pipe open
                self._bury(handle)
            elif handle.ready and now - handle.seen > self._unresponsive:
                self._bury(handle, f"unresponsive for {self._unresponsive:g} s")
        if self._starter is not None and not self._output:
            slowest = max((now - handle.seen for handle in self._handles), default=0.0)
            self._say_message({"type": "heartbeat", "seconds": round(slowest, 3)})

    # ---- to the orchestrator

    def _say(self, text: bytes) -> None:
        self._output.put(text)
        self._output.put(b"\n")

    def _say_message(self, message: dict[str, Any]) -> None:
        self._output.put(encode(message))

    def _say_failed(self, code: str, message: str, where: str = "") -> None:
        self._say_message({"type": "failed", "code": code, "message": message, "where": where})

    def _fail(self, code: str, message: str, where: str = "") -> None:
        self._say_failed(code, message, where)
        raise Finished(1)
