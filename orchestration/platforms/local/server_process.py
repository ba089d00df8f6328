"""One server process: started with a private pair of pipes, it lives until the pipe ends, is killed or dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestration.platforms.local.limits import Limits
from orchestration.printed_log import PrintedLog
from orchestration.processes import clean_environment
from orchestration.values import Json

PROTOCOL = 1
LONGEST_ANSWER = 2**24
LOOPBACK = "127.0.0.1,localhost"


class ServerFailed(Exception):
    """The process never served; the text says why, in one sentence."""


@dataclass(slots=True)
class ServerProcess:
    """A process that serves. `token` is what its requests must carry."""

    process: asyncio.subprocess.Process
    pipe: asyncio.WriteTransport
    port: int
    token: str
    _in_flight: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @contextlib.contextmanager
    def request(self) -> Iterator[ServerProcess]:
        """A request in flight."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield self
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def idle(self, seconds: float) -> None:
        """Wait until no request is in flight, at most so long."""
        if self._in_flight:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    async def ended(self) -> str:
        """Wait for its end; returns how it ended, for people."""
        return how_ended(await self.process.wait())

    def kill(self) -> None:
        """End it and what it started, at once."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def serving(
    runtime: str, opening: Mapping[str, Json], *, folder: Path, log: PrintedLog, limits: Limits
) -> AsyncIterator[ServerProcess]:
    """A process that serves what the `open` message says; at the end of the block it finishes and is gone.

    Raises `ServerFailed` if it does not serve within `limits.start_seconds`.
    """
    token = secrets.token_urlsafe(24)
    async with _started(runtime, folder, log, limits) as (process, pipe, answers):
        pipe.write(json.dumps({**opening, "type": "open", "protocol": PROTOCOL, "token": token}).encode() + b"\n")
        answer = await _first_answer(process, answers, limits.start_seconds)
        yield ServerProcess(process, pipe, port=int(answer["port"]), token=token)


@contextlib.asynccontextmanager
async def _started(
    runtime: str, folder: Path, log: PrintedLog, limits: Limits
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.WriteTransport, asyncio.StreamReader]]:
    their_read, our_write = os.pipe()
    our_read, their_write = os.pipe()
    pipe, answers, close = await _attach(our_write, our_read)
    try:
        try:
            process = await _spawn(runtime, their_read, their_write, folder)
        finally:
            os.close(their_read)
            os.close(their_write)
        printing = asyncio.create_task(_copy(process.stdout, log))
        try:
            yield process, pipe, answers
        finally:
            close()
            await _end(process, limits.end_seconds)
            await _finish(printing)
            log.flush()
    finally:
        close()


async def _attach(write: int, read: int) -> tuple[asyncio.WriteTransport, asyncio.StreamReader, Any]:
    loop = asyncio.get_running_loop()
    answers = asyncio.StreamReader(limit=LONGEST_ANSWER)
    reading, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(read, "rb"))
    writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(write, "wb"))

    def close() -> None:
        writing.close()
        reading.close()

    return writing, answers, close


async def _spawn(runtime: str, read: int, write: int, folder: Path) -> asyncio.subprocess.Process:
    command = (runtime, "-m", "sluice_runner", "serve", "--in", str(read), "--out", str(write))
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            pass_fds=(read, write),
            cwd=folder,
            env=server_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise ServerFailed(f"The runtime's interpreter {runtime} can't be started: {error.strerror}.") from error


def server_environment() -> dict[str, str]:
    """What a server inherits: no secrets, and no proxy between it and this machine's model proxy."""
    environment = clean_environment()
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, (environment.get(name), LOOPBACK)))
    return environment | {"PYTHONUNBUFFERED": "1"}


async def _first_answer(
    process: asyncio.subprocess.Process, answers: asyncio.StreamReader, seconds: float
) -> dict[str, Any]:
    try:
        async with asyncio.timeout(seconds):  # `wait_for` would lose a cancellation that comes with the answer
            line = await answers.readline()
    except TimeoutError:
        raise ServerFailed(f"The server was not ready after {seconds:g} s.") from None
    if not line:
        raise ServerFailed(f"The server ended before it served: {how_ended(await process.wait())}.")
    try:
        answer: dict[str, Any] = json.loads(line)
        if answer["type"] == "serving":
            return answer
        at = f"{answer['where']}: " if answer["where"] else ""
        why = f"{at}{answer['message']} ({answer['code']})."
    except (ValueError, TypeError, KeyError):
        why = "The runtime does not speak the runner protocol."
    raise ServerFailed(why)


async def _end(process: asyncio.subprocess.Process, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), timeout=seconds)
    # The process, if it would not go, and whatever it left behind in its group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _copy(output: asyncio.StreamReader | None, log: PrintedLog) -> None:
    assert output is not None
    while data := await output.read(2**16):
        log.feed(data)


async def _finish(printing: asyncio.Task[None]) -> None:
    # Children that left the process group may hold the output open for ever.
    _, waiting = await asyncio.wait([printing], timeout=1)
    for task in waiting:
        task.cancel()


def how_ended(code: int) -> str:
    """An exit code for people."""
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
