"""The emulated cloud: its services by host, its directory and resources, and the proxy that leads to them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
import threading
import traceback
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from . import exchanges
from .arm import ArmStore
from .arm_requests import ArmRequests, call_name
from .authority import Authority
from .clock import Clock, VirtualClock
from .directory import Directory, Principal
from .exchanges import Exchange
from .faults import Delay, Fault, Reset, Status
from .http1 import HEAD_LIMIT
from .proxy import Backend, Connection
from .scenario import Scenario
from .wire import Handler, Request, Response, error

T = TypeVar("T")
MANAGEMENT = "management.azure.com"
_WITH_TOKEN = re.compile(r"management\.azure\.com|.+\.api\.azureml\.ms|ml\.azure\.com")
LAST_POLL_SECONDS, QUIET_SECONDS = 1.0, 0.05


@dataclass(frozen=True, slots=True)
class Route:
    """A handler for the hosts that match."""

    host: re.Pattern[str]
    handler: Handler
    kind: str | Callable[[Request], str]
    reworded: Callable[[Response], Response] | None = None

    def kind_of(self, request: Request) -> str:
        """What scenarios call this request."""
        return self.kind(request) if callable(self.kind) else self.kind


class Cloud:
    """One emulated cloud with its own thread and event loop; `with Cloud() as cloud:` starts and ends it.

    `refused` lists hosts that nobody serves, `unknown` requests to known hosts that nobody understood, `crashes`
    tracebacks of handlers: three lists that a test expects to be empty. Nothing of the machine is touched but one
    loopback port and a temporary folder.
    """

    def __init__(
        self, scenario: Scenario | None = None, clock: Clock | None = None, *, region: str = "westeurope"
    ) -> None:
        self.scenario, self.clock = scenario or Scenario(), clock or VirtualClock()
        self.region = region
        self.directory = Directory(self.scenario, self.clock)
        self.arm = ArmStore(self.scenario, self.clock, region=region)
        self.container_identities: dict[str, Principal] = {}
        self.exchanges: list[Exchange] = []
        self.refused: list[str] = []
        self.unknown: list[str] = []
        self.crashes: list[str] = []
        self.port = 0
        self._services: dict[type[Any], Any] = {}
        self._requests = ArmRequests(self.arm)
        self._routes: list[Route] = []
        self._backends: list[Backend] = []
        self._at_stop: list[Callable[[], Awaitable[None] | None]] = []
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, service: object) -> None:
        """Keep a service, so that others and tests find it with `of`."""
        self._services[type(service)] = service

    def of(self, service: type[T]) -> T:
        """The service of that class."""
        found: T = self._services[service]
        return found

    def route(
        self,
        host: str,
        handler: Handler,
        *,
        kind: str | Callable[[Request], str] = "",
        reworded: Callable[[Response], Response] | None = None,
    ) -> None:
        """Ask this handler about requests to hosts that match, after those installed before it.

        Requests to management.azure.com that no handler takes go to the store of resources. `reworded` puts the
        cloud's own refusals of requests that have a kind here into the words of the service.
        """
        self._routes.append(Route(re.compile(host, re.IGNORECASE), handler, kind, reworded))

    def forward(self, host: str, target: str, *, path: str = "", kind: str = "blob") -> None:
        """Stream requests for hosts and paths that match to another server, `http://127.0.0.1:port` or https.

        What `path` matches at the start of a path is cut off. The Host header stays as it is.
        """
        backend = Backend(re.compile(host, re.IGNORECASE), target, kind, re.compile(path, re.IGNORECASE))
        self._backends.append(backend)

    def at_stop(self, act: Callable[[], Awaitable[None] | None]) -> None:
        """Call this in the event loop when the cloud ends; the latest first."""
        self._at_stop.append(act)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on a free port of 127.0.0.1."""
        self._folder = tempfile.TemporaryDirectory(prefix="cloud-")
        self._authority = Authority(Path(self._folder.name))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="azure-emulator", daemon=True)
        self._thread.start()
        self.call(self._listen())

    def stop(self) -> None:
        """Let the SDK's pollers see the end of what they poll, end the services, close all connections."""
        assert self._loop is not None
        self.call(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the cloud's loop, from another thread, and return its result."""
        assert self._loop is not None, "the cloud is not started"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def see(self, path: str) -> dict[str, Any] | None:
        """A resource as a GET would show it now, without a request; None if it is absent."""
        return self.call(self._see(path))

    async def _see(self, path: str) -> dict[str, Any] | None:
        resource = await self.arm.find(path)
        return self.arm.shown(resource) if resource else None

    @property
    def ca_file(self) -> Path:
        """The certificates that clients must trust: the usual ones and this cloud's own."""
        return self._authority.bundle

    def environment(self) -> dict[str, str]:
        """The variables that lead an unchanged client here."""
        proxy, trusted = f"http://127.0.0.1:{self.port}", str(self.ca_file)
        return {
            "HTTPS_PROXY": proxy,
            "HTTP_PROXY": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": trusted,
            "SSL_CERT_FILE": trusted,
            "CURL_CA_BUNDLE": trusted,
        }

    def write_exchanges(self, path: Path) -> int:
        """Write what was recorded in the validator's form; returns how many lines."""
        return exchanges.write(list(self.exchanges), path)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # by the cloud's end: the connection's own is enough
            await Connection(self, self._authority, reader, writer).serve()
        writer.close()

    async def _finish(self) -> None:
        self.arm.cancel()
        await self._last_polls()
        self._server.close()
        for act in reversed(self._at_stop):
            done = act()
            if done is not None:
                await done
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _last_polls(self) -> None:
        """Wait until whoever polls has been told that it is over, and has asked what it asks then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_POLL_SECONDS):
                for operation in self.arm.operations.values():
                    if operation.polls:
                        await operation.told.wait()
                while self.arm.operations:
                    self._arrived.clear()
                    await asyncio.wait_for(self._arrived.wait(), QUIET_SECONDS)

    def knows(self, host: str) -> bool:
        """Whether anything answers for the host; else it is noted as refused."""
        patterns = [*(each.host for each in self._routes), *(each.host for each in self._backends)]
        if host.lower() == MANAGEMENT or any(pattern.fullmatch(host) for pattern in patterns):
            return True
        self.refused.append(host)
        return False

    def backend(self, request: Request) -> Backend | None:
        """The server to pass a request on to, body unread."""
        return next((each for each in self._backends if each.serves(request.host, request.path)), None)

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Request:
        """A request that arrives now."""
        return Request.of(method, url, headers, body, at=self.clock.now())

    def record(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        self._arrived.set()
        self.exchanges.append(exchange)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass by the emulator's clock, without holding up other requests."""
        await asyncio.to_thread(self.clock.sleep, seconds)

    def gate(self, request: Request, kind: str) -> tuple[Response | None, Fault | None]:
        """For a request that is passed on: an answer without the backend, or a fault to play."""
        fault = self.scenario.take(request.method, kind)
        if isinstance(fault, Status):
            return error(fault.status, fault.code, fault.message, headers=fault.headers), None
        return self._unauthorized(request), fault

    async def answer(self, request: Request) -> tuple[Response, Fault | None]:
        """The answer, and how to spoil it on its way."""
        fault = self.scenario.take(*self._name(request))
        if isinstance(fault, Status):
            said = error(fault.status, fault.code, fault.message, headers=fault.headers)
            return _tagged(self._worded(request, said)), None
        if isinstance(fault, Reset) and not fault.after_commit:
            return Response(0), fault
        if isinstance(fault, Delay):
            await self.pass_time(fault.seconds)
        return _tagged(await self._handled(replace(request, fault=fault))), fault

    async def _handled(self, request: Request) -> Response:
        refusal = self._unauthorized(request)
        if refusal:
            return self._worded(request, refusal)
        try:
            answer = await self._ask(request)
        except Exception:  # noqa: BLE001  # a bug of a service must reach the test and not only its client
            self.crashes.append(traceback.format_exc())
            return error(500, "EmulatorCrashed", "The emulator has a bug; see its list of crashes.")
        if answer is None:
            self.unknown.append(f"{request.method} {request.url}")
            return error(501, "NotImplemented", f"The emulator does not know {request.method} {request.path}.")
        return answer

    async def _ask(self, request: Request) -> Response | None:
        for route in self._routes_of(request):
            answer = await route.handler(request)
            if answer is not None:
                return answer
        return await self._requests.handle(request) if request.host == MANAGEMENT else None

    def _routes_of(self, request: Request) -> list[Route]:
        return [each for each in self._routes if each.host.fullmatch(request.host)]

    def _worded(self, request: Request, said: Response) -> Response:
        """A refusal of the cloud's own, in the words of the service that it stands for."""
        routes = (each for each in self._routes_of(request) if each.reworded and each.kind_of(request))
        return next((each.reworded(said) for each in routes if each.reworded), said)

    def _name(self, request: Request) -> tuple[str, str]:
        if request.host == MANAGEMENT:
            return call_name(request)
        named = (each.kind_of(request) for each in self._routes_of(request))
        return request.method, next(filter(None, named), request.path)

    def _unauthorized(self, request: Request) -> Response | None:
        return self.directory.refusal(request.headers) if _WITH_TOKEN.fullmatch(request.host) else None


def _tagged(response: Response) -> Response:
    """The answer with the request ids that Azure gives."""
    ids = {"x-ms-request-id": str(uuid.uuid4()), "x-ms-correlation-request-id": str(uuid.uuid4())}
    return replace(response, headers={**ids, **response.headers})
