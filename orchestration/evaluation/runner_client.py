"""The client of a runner (docs/runner-protocol.md): starts it, sends and receives messages, ends it for certain."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from orchestration.errors import RunnerFailed
from orchestration.evaluation.description import PROTOCOL, Description, read_description
from orchestration.evaluation.printed import Printed
from orchestration.evaluation.runner_process import RunnerProcess, start_process
from orchestration.redaction import Redactor

Message = dict[str, Any]

READY_SECONDS = 120.0  # a framework's import from a cold disk, on a loaded machine
CLOSE_SECONDS = 2.0
OURS = frozenset({"type", "id", "ids", "protocol", "status", "seconds", "tokens"})  # fields without words of user code
_CHUNK = 2**18
_LIMIT = 2**22  # reading pauses beyond twice this; lines themselves may be of any length


class Runner(Protocol):
    """What the scheduler needs of a runner."""

    description: Description

    def send(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Send them; a runner that is gone takes them without a word."""

    async def receive(self) -> list[Message]:
        """At least one message; the empty list when there will be no more."""

    async def close(self) -> None:
        """Let it end by itself, but not for long; then `kill`."""

    def kill(self) -> None:
        """End it with everything that it started. Safe to repeat."""

    @property
    def exit_cause(self) -> str | None:
        """How it ended (`exit code 3`), None while it lives."""

    async def ended(self) -> str:
        """How it ended, asked when there are no more messages."""


class RunnerClient:
    """A runner process with its flow opened. Whoever starts one owes it `close` or `kill`."""

    description: Description

    def __init__(self, process: RunnerProcess, log: Path, redactor: Redactor) -> None:
        self._process, self._log, self._redactor = process, log, redactor
        self._printed = Printed(process.printed, log, redactor)
        self._buffer: list[bytes] = []
        self._early: list[Message] = []  # came in one piece with `ready`
        self._broken: str | None = None
        self._failure = ""  # what a runner says when it gives up
        self._input: asyncio.ReadTransport | None = None
        self._writer: asyncio.WriteTransport | None = None

    @classmethod
    async def start(
        cls,
        python: Path,
        opening: Mapping[str, Any],
        *,
        connections: Callable[[], Awaitable[Mapping[str, Any]]],
        environment: Mapping[str, str],
        log: Path,
        redactor: Redactor,
        ready_seconds: float = READY_SECONDS,
    ) -> Self:
        """Start a runner and open the flow that `opening` (the fields of `open`, without `connections`) names.

        `connections` is asked once the runner is busy with imports of its own. What comes from the runner, the lines
        in `log` too, comes without the secrets of `redactor`. Raises `RunnerFailed` if the interpreter can't be
        started, or the flow not be opened within `ready_seconds`, and what `connections` raises.
        """
        try:
            process = start_process(python, environment=environment)
        except OSError as error:
            raise RunnerFailed("NoRuntime", f"the runtime {python} can't be started: {error.strerror}.") from error
        client = cls(process, log, redactor)
        try:
            await client._connect()
            client.send([{"type": "prepare", "flow": opening["flow"]}])
            client.send([{"type": "open", "protocol": PROTOCOL, **opening, "connections": await connections()}])
            async with asyncio.timeout(ready_seconds):
                client.description = await client._ready()
        except TimeoutError:
            client.kill()
            raise RunnerFailed("NotReady", f"the flow was not open after {ready_seconds:g} s; see {log}.") from None
        except BaseException:
            client.kill()
            raise
        return client

    @property
    def exit_cause(self) -> str | None:
        return self._broken or self._process.exit_cause

    def send(self, messages: Iterable[Mapping[str, Any]]) -> None:
        lines = [json.dumps(message, separators=(",", ":"), allow_nan=False).encode() for message in messages]
        if lines and self._writer is not None and not self._writer.is_closing():
            self._writer.write(b"\n".join(lines) + b"\n")

    async def receive(self) -> list[Message]:
        if self._early:
            early, self._early = self._early, []
            return early
        while not self._broken:
            chunk = await self._reader.read(_CHUNK)
            if not chunk:
                return []
            lines = self._lines(chunk)
            if lines:
                return self._messages(lines)
        return []

    async def close(self) -> None:
        self.send([{"type": "close"}])
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while await self.receive():
                    pass
        except TimeoutError:
            pass
        finally:
            self.kill()

    async def ended(self) -> str:
        for _ in range(20):  # the process ends a moment after its pipe
            if self.exit_cause:
                break
            await asyncio.sleep(0.01)
        return self._failure or self.exit_cause or "its pipe was closed"

    def kill(self) -> None:
        self._process.kill()
        self._printed.close()
        if self._writer is not None and not self._writer.is_closing():
            self._writer.abort()  # `close` would wait for a reader that is gone
        if self._input is not None:
            self._input.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=_LIMIT)
        protocol = asyncio.StreamReaderProtocol(self._reader)
        self._input, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(self._process.from_runner, "rb", 0))
        self._writer, _ = await loop.connect_write_pipe(
            asyncio.BaseProtocol, os.fdopen(self._process.to_runner, "wb", 0)
        )

    async def _ready(self) -> Description:
        while messages := await self.receive():
            for position, message in enumerate(messages, start=1):
                if message["type"] == "ready":
                    self._early = messages[position:]
                    return read_description(message)
                if message["type"] == "failed":
                    raise RunnerFailed(
                        str(message.get("code")), str(message.get("message")), where=str(message.get("where") or "")
                    )
        cause = await self.ended()
        raise RunnerFailed("Died", f"the runner ended before the flow was open ({cause}); see {self._log}.")

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The complete lines so far. A line that came in many chunks is joined once, at its end."""
        head, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._buffer.append(chunk)
            return []
        lines = b"".join([*self._buffer, head]).split(b"\n")
        self._buffer = [rest] if rest else []
        return lines

    def _messages(self, lines: list[bytes]) -> list[Message]:
        """The messages; one that is none ends this runner, since nothing after it can be trusted."""
        messages: list[Message] = []
        for line in lines:
            try:
                message = self._redacted(line, json.loads(line))
            except (ValueError, RecursionError):
                message = None
            if not isinstance(message, dict) or "type" not in message:
                self._broken = "it sent a broken message"
                break
            if message["type"] == "failed":
                self._failure = f"{message.get('code')}: {message.get('message')}"
            messages.append(message)
        return messages

    def _redacted(self, line: bytes, message: Any) -> Any:
        """The message without the secrets that user code was given."""
        if not isinstance(message, dict) or not self._redactor.is_in(line):
            return message
        return {key: value if key in OURS else self._redactor.clean_value(value) for key, value in message.items()}
