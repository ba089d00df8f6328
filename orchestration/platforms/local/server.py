"""Keeps one online deployment served: starts its server, watches it, starts it again, and lets it finish."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp

from orchestration.errors import SluiceError
from orchestration.platforms.base import SUCCEEDED
from orchestration.platforms.local.connections import opened, secrets_in
from orchestration.platforms.local.desired import CREATING, FAILED_STATE, UPDATING, Deployment
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.redaction import Redactor
from orchestration.platforms.local.served import Served
from orchestration.platforms.local.server_log import ServerLog
from orchestration.platforms.local.server_process import ServerFailed, ServerProcess, serving
from orchestration.values import Json

HOPELESS = 5  # deaths in a row after which the state reads Failed, though the restarts go on
TOKEN_HEADER = "x-sluice-token"  # noqa: S105 - a header's name

log = logging.getLogger("sluice.gateway")


class Server:
    """The server of one online deployment. `live` is the process that serves now, if one does.

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
        self.redactor = Redactor(())
        self.live: ServerProcess | None = None
        self.message = ""
        self._log_file, self._limits, self._session, self._settled = log_file, limits, session, settled
        self._provisioned = deployment.state == SUCCEEDED
        self._wire: Mapping[str, Any] | None = None if self.spec.binding.connections else {}
        self._task: asyncio.Task[None] | None = None
        self._deaths = 0
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def needs_connections(self) -> bool:
        """Whether it waits for the secrets of its connections: a gateway that was just started has none."""
        return self._wire is None

    @property
    def state(self) -> str:
        """Azure's word for how it stands."""
        if self.live is not None:
            return SUCCEEDED
        if not self._provisioned:
            return CREATING
        return FAILED_STATE if self._deaths >= HOPELESS else UPDATING

    def start(self, wire: Mapping[str, Any] | None = None) -> None:
        """Begin to serve, as soon as the connections are known; done already is done."""
        self._wire = wire if self._wire is None else self._wire
        if self._wire is None:
            self.message = "It waits for its connections."
        elif self._task is None:
            self.message = ""
            self._task = asyncio.create_task(self._run(self._wire), name=f"server {self.name}")

    async def stop(self, drain_seconds: float) -> None:
        """Let the requests in flight finish, then end the process. No request may be routed here any more."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout=drain_seconds)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @contextlib.contextmanager
    def request(self) -> Iterator[ServerProcess | None]:
        """A request in flight, to the process that is live now."""
        self._in_flight += 1
        self._idle.clear()
        try:
            yield self.live
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _run(self, wire: Mapping[str, Any]) -> None:
        self._log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.redactor = Redactor(secrets_in(wire))
        output = ServerLog(self._log_file, limit_bytes=self._limits.log_bytes, redactor=self.redactor)
        try:
            async with opened(wire, model_seconds=self._limits.model_seconds) as connections:
                while await self._serve_once(self._opening(connections), output):  # noqa: ASYNC110 - a pause, no poll
                    await asyncio.sleep(self._limits.backoff(self._deaths))
        except SluiceError as error:  # from the model proxy
            self._fail(str(error))
        except Exception:
            log.exception("deployment %s: the supervision failed", self.name)
            self._fail("The gateway failed to supervise it; see its log.")

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

    async def _serve_once(self, opening: Mapping[str, Json], output: ServerLog) -> bool:
        # One life of a process; returns whether another one is wanted.
        born = time.monotonic()
        try:
            async with serving(
                self.spec.runtime, opening, folder=self._log_file.parent, log=output, limits=self._limits
            ) as process:
                self._went_live(process)
                try:
                    cause = await self._watch(process)
                finally:
                    self.live = None
        except ServerFailed as error:
            if not self._provisioned:
                output.note(str(error))
                self._fail(str(error))
                return False
            cause = str(error)
        self._died(cause, time.monotonic() - born, output)
        return True

    def _went_live(self, process: ServerProcess) -> None:
        self.live, self.message = process, ""
        log.info("deployment %s: serving with pid %d", self.name, process.process.pid)
        if not self._provisioned:
            self._provisioned = True
            self._settled(SUCCEEDED, "")

    def _died(self, cause: str, lived_seconds: float, output: ServerLog) -> None:
        self._deaths = 1 if lived_seconds >= self._limits.steady_seconds else self._deaths + 1
        self.message = f"Its server ended ({cause.rstrip('.')}); it is started again."
        output.note(self.message)
        log.warning("deployment %s: %s", self.name, self.message)

    def _fail(self, message: str) -> None:
        self.message, self._deaths = message, HOPELESS
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
