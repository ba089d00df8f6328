"""Keeps one online deployment served: starts its server, watches it, starts it again, and lets it finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from orchestration.errors import SluiceError
from orchestration.platforms.base import SUCCEEDED
from orchestration.platforms.local.connections import Opened, opened, secrets_in
from orchestration.platforms.local.desired import CREATING, FAILED_STATE, UPDATING, Deployment
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.served import Served
from orchestration.platforms.local.server_process import ServerFailed, ServerProcess, serving
from orchestration.printed_log import PrintedLog
from orchestration.redaction import Redactor
from orchestration.values import Json

HOPELESS = 5  # deaths in a row after which the state reads Failed, though the restarts go on
TOKEN_HEADER = "x-sluice-token"  # noqa: S105 - a header's name

log = logging.getLogger("sluice.gateway")


@dataclass(slots=True, eq=False)
class _Life:
    """One set of connections (`wire`), and the processes that serve with it, one after the other.

    `opened` is None before and after them, `process` while none of them serves.
    """

    wire: Mapping[str, Any] = field(repr=False)
    task: asyncio.Task[None] | None = None
    opened: Opened | None = None
    process: ServerProcess | None = None
    deaths: int = 0
    retiring: bool = False

    @property
    def over(self) -> bool:
        return self.task is not None and self.task.done()

    def change(self, wire: Mapping[str, Any]) -> bool:
        """Go on with these connections; False if that takes another process."""
        if self.over or self.opened is None or not self.opened.change(wire):
            return False
        self.wire = wire
        return True

    def end(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Server:
    """The server of one online deployment. `live` is the process that takes requests now, if one does.

    `settled(state, message)` is called once for a new deployment: Succeeded or Failed.
    """

    def __init__(
        self,
        deployment: Deployment,
        *,
        log_file: Path,
        limits: Limits,
        session: aiohttp.ClientSession,
        settled: Callable[[str, str], None],
    ) -> None:
        self.name, self.spec = deployment.name, deployment.spec
        self.served = Served()
        self.redactor = Redactor()
        self.live: ServerProcess | None = None
        self.message = ""
        self._log_file, self._limits, self._session, self._settled = log_file, limits, session, settled
        self._provisioned = deployment.state == SUCCEEDED
        self._lives: list[_Life] = []  # the newest last; older ones serve until it does
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()

    @property
    def needs_connections(self) -> bool:
        """Whether it waits for the secrets of its connections: a gateway that was just started has none."""
        return not self._lives and bool(self.spec.binding.connections)

    @property
    def state(self) -> str:
        """Azure's word for how it stands."""
        if self.live is not None:
            return SUCCEEDED
        if not self._provisioned:
            return CREATING
        return FAILED_STATE if self._lives and self._lives[-1].deaths >= HOPELESS else UPDATING

    def start(self) -> None:
        """Begin to serve; what has connections waits until they are supplied."""
        if self.needs_connections:
            self.message = "It waits for its connections."
        elif not self._lives:
            self._begin({})

    def supply(self, wire: Mapping[str, Any]) -> None:
        """Serve with these connections from now on: begin to, or change over. The same again changes nothing.

        Keys of models change where the model proxy keeps them. What the process itself was given takes another
        process; the present one serves until that does, and then finishes its requests.
        """
        newest = self._lives[-1] if self._lives else None
        if newest is not None and newest.over and not self._provisioned:
            return  # it failed: only made anew it is tried again
        if newest is not None and not newest.over and newest.wire == wire:
            return
        self.redactor.learn(secrets_in(wire))
        if newest is None or not newest.change(wire):
            self._begin(wire)
        log.info("deployment %s: its connections were given", self.name)

    def hurry(self) -> None:
        """Try again at once to start what kept dying: what it lacked is there."""
        if self._lives:
            self._lives[-1].deaths = 0
        self._hurry.set()

    async def stop(self, drain_seconds: float) -> None:
        """Let the requests in flight finish, then end the process. No request may be routed here any more."""
        await asyncio.gather(*(life.process.idle(drain_seconds) for life in self._lives if life.process is not None))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def request(self) -> AbstractContextManager[ServerProcess | None]:
        """A request in flight, to the process that is live now."""
        return nullcontext() if self.live is None else self.live.request()

    def _begin(self, wire: Mapping[str, Any]) -> None:
        for life in self._lives:
            if life.process is None:  # it serves nobody: the new one takes its place
                life.end()
        self._lives = [life for life in self._lives if life.process is not None]
        self.message = ""
        life = _Life(wire)
        self._lives.append(life)
        life.task = self._do(self._run(life), f"server {self.name}")

    def _do(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, life: _Life) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        output = PrintedLog(self._log_file, limit_bytes=self._limits.log_bytes, redactor=self.redactor)
        try:
            async with opened(life.wire, model_seconds=self._limits.model_seconds) as life.opened:
                while await self._serve_once(life, self._opening(life.opened.described), output):
                    await self._pause(life)
        except SluiceError as error:  # from the model proxy
            self._fail(life, str(error))
        except Exception:
            log.exception("deployment %s: the supervision failed", self.name)
            self._fail(life, "The gateway failed to supervise it; see its log.")
        finally:
            life.opened = None

    async def _pause(self, life: _Life) -> None:
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.backoff(life.deaths)):
                await self._hurry.wait()

    def _opening(self, connections: Mapping[str, Json]) -> dict[str, Json]:
        return {
            "name": self.name,
            "flow": self.spec.flow,
            "variant": self.spec.variant,
            "connections": dict(connections),
            "overrides": {},
            "concurrency": self._limits.concurrency,
            "trace": False,
        }

    async def _serve_once(self, life: _Life, opening: Mapping[str, Json], output: PrintedLog) -> bool:
        # One life of a process; returns whether another one is wanted.
        born = time.monotonic()
        try:
            async with serving(
                self.spec.runtime, opening, folder=self._log_file.parent, log=output, limits=self._limits
            ) as process:
                self._went_live(life, process)
                try:
                    cause = await self._watch(process)
                finally:
                    life.process = None
                    self._choose()
        except ServerFailed as error:
            if not self._provisioned:
                output.note(str(error))
                self._fail(life, str(error))
                return False
            cause = str(error)
        self._died(life, cause, time.monotonic() - born, output)
        return True

    def _went_live(self, life: _Life, process: ServerProcess) -> None:
        life.process, self.message = process, ""
        self._choose()
        log.info("deployment %s: serving with pid %d", self.name, process.process.pid)
        for older in self._lives[: self._lives.index(life)]:
            if not older.retiring:
                older.retiring = True
                self._do(self._retire(older), f"retire {self.name}")
        if not self._provisioned:
            self._provisioned = True
            self._settled(SUCCEEDED, "")

    def _choose(self) -> None:
        self.live = next((life.process for life in reversed(self._lives) if life.process is not None), None)

    async def _retire(self, life: _Life) -> None:
        # A newer life takes the requests; those in flight here finish first.
        if life.process is not None:
            await life.process.idle(self._limits.drain_seconds)
        life.end()
        if life.task is not None:
            await asyncio.wait([life.task])
        self._lives = [each for each in self._lives if each is not life]

    def _died(self, life: _Life, cause: str, lived_seconds: float, output: PrintedLog) -> None:
        life.deaths = 1 if lived_seconds >= self._limits.steady_seconds else life.deaths + 1
        self.message = f"Its server ended ({cause.rstrip('.')}); it is started again."
        output.note(self.message)
        log.warning("deployment %s: %s", self.name, self.message)

    def _fail(self, life: _Life, message: str) -> None:
        self.message, life.deaths = message, HOPELESS
        log.warning("deployment %s: failed: %s", self.name, message)
        if not self._provisioned:
            self._settled(FAILED_STATE, message)

    async def _watch(self, process: ServerProcess) -> str:
        # Until it ends, or no longer answers and is ended.
        end = asyncio.create_task(process.ended())
        failures = 0
        try:
            while failures < self._limits.probe_failures:
                await asyncio.wait([end], timeout=self._limits.probe_seconds)
                if end.done():
                    return end.result()
                failures = 0 if await self._answers(process) else failures + 1
            process.kill()
            return f"it answered none of {failures} looks at its health, {await end}"
        finally:
            end.cancel()

    async def _answers(self, process: ServerProcess) -> bool:
        try:
            async with self._session.get(
                f"http://127.0.0.1:{process.port}/health",
                headers={TOKEN_HEADER: process.token},
                timeout=aiohttp.ClientTimeout(total=self._limits.probe_seconds),
            ) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False
