"""One online deployment's server: reads one `open` message, opens the prompt flow, answers requests until the pipe ends.

The process holds one opened prompt flow. Each connection has a thread, which also runs the prompt flow for the request
that it read, so nothing is handed from thread to thread; a semaphore keeps to the asked concurrency.
"""

from __future__ import annotations

import gc
import hmac
import json
import os
import sys
import threading
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from sluice_runner import PROTOCOL
from sluice_runner.adapters import open_flow
from sluice_runner.adapters.base import AdapterFailed, Executor, Message, RowFailed, describe
from sluice_runner.lines import encode, plain
from sluice_runner.serve_http import Answer, HttpServer, Request
from sluice_runner.serve_inputs import BadInput, coerce, openapi

LAST_REQUESTS_SECONDS = 30.0  # after the pipe ended; whoever held it can end the process sooner
CONCURRENCY = 16
NEVER_SERVED = 1  # exit code


class Application:
    """What is answered to which request. `answer` is called from many threads.

    `token`: what each request must carry in the header x-sluice-token; None where somebody in front of this server
    lets nobody else in.
    """

    def __init__(self, executor: Executor, *, name: str, token: str | None, concurrency: int = CONCURRENCY) -> None:
        self._executor = executor
        self._token = None if token is None else token.encode()
        self._name = name
        self._slots = threading.Semaphore(concurrency)
        self._routes = {
            ("POST", "/score"): self._score,
            ("GET", "/health"): lambda _: Answer(200, b'{"status": "Healthy"}'),
            ("GET", "/version"): self._version,
            ("GET", "/swagger.json"): self._swagger,
        }
        self._known = {path for _, path in self._routes}

    def answer(self, request: Request) -> Answer:
        """Answer a request; never raises."""
        if self._token is not None and not hmac.compare_digest(request.header("x-sluice-token").encode(), self._token):
            return refuse(401, "Unauthorized", "the header x-sluice-token is missing or wrong")
        route = self._routes.get((request.method, request.path))
        if route is not None:
            return route(request)
        if request.path in self._known:
            return refuse(405, "MethodNotAllowed", f"{request.path} does not take {request.method}")
        return refuse(404, "NotFound", f"there is no {request.path}; requests go to /score")

    def _score(self, request: Request) -> Answer:
        try:
            inputs = coerce(read_object(request.body), self._executor.inputs)
        except BadInput as error:
            return refuse(400, error.code, str(error))
        with self._slots:
            try:
                output = self._executor.run_row(inputs, row_id=request.header("x-request-id"), trace=False).output
                return Answer(200, json.dumps(output, allow_nan=False, ensure_ascii=False).encode())
            except RowFailed as error:
                return self._failed(error)
            except (TypeError, ValueError, RecursionError) as error:
                return self._failed(RowFailed("BadOutput", f"the output is not a JSON value: {describe(error)}"))
            except BaseException as error:  # noqa: BLE001 - the line between user code and the server
                return self._failed(RowFailed("Raised", describe(error)))

    def _failed(self, error: RowFailed) -> Answer:
        if error.code == "MissingInput":
            return refuse(400, error.code, error.message)
        log(f"{error.code}: {error.message}" + (f" ({error.where})" if error.where else ""))
        return refuse(500, error.code, error.message)

    def _version(self, _: Request) -> Answer:
        body = {"version": version(), "framework": self._executor.framework, "deployment": self._name}
        return Answer(200, json.dumps(body).encode())

    def _swagger(self, _: Request) -> Answer:
        return Answer(
            200, json.dumps(plain(openapi(self._name, self._executor.inputs, self._executor.outputs))).encode()
        )


def read_object(body: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises `BadInput`; NaN and Infinity are no JSON."""
    try:
        inputs = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadInput("BadJson", f"the body is not JSON: {error}") from None
    if not isinstance(inputs, dict):
        raise BadInput("BadJson", f"the body must be a JSON object of inputs, not {type(inputs).__name__}")
    return inputs


def refuse(status: int, code: str, message: str) -> Answer:
    """An answer that says what is wrong."""
    return Answer(status, encode({"error": {"code": code, "message": message}}).strip())


def version() -> str:
    """The version of the runner."""
    try:
        return metadata.version("sluicegate-runner")
    except metadata.PackageNotFoundError:  # copied into an image, which then says it
        return os.environ.get("SLUICE_RUNNER_VERSION", "unknown")


def log(line: str) -> None:
    """Print one line to the server's log."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - standard error is the log


def main(read: int, write: int) -> int:
    """Serve until the pipe `read` ends; returns the exit code. The caller ends the process: threads may hang."""
    with os.fdopen(read, "rb") as commands, os.fdopen(write, "wb", buffering=0) as answers:
        try:
            server, serving = start(json.loads(commands.readline() or b"null"))
        except AdapterFailed as error:
            answers.write(
                encode({"type": "failed", "code": error.code, "message": error.message, "where": error.where})
            )
            return NEVER_SERVED
        answers.write(encode(serving))
        while commands.read(4096):  # nothing more is ever said: this waits for the end of the pipe
            pass
    server.stop(LAST_REQUESTS_SECONDS)
    return 0


def start(message: Any) -> tuple[HttpServer, Mapping[str, Any]]:
    """Open the prompt flow and listen; returns the server and the `serving` message. Raises `AdapterFailed`."""
    if not isinstance(message, dict) or message.get("type") != "open" or message.get("protocol") != PROTOCOL:
        raise AdapterFailed("Protocol", f"the first message must be open with protocol {PROTOCOL}")
    if not message.get("token") or not message.get("name"):
        raise AdapterFailed("Protocol", "serving needs a token and a name")
    executor = open_to_serve(message)
    concurrency = int(message.get("concurrency") or CONCURRENCY)
    application = Application(executor, name=str(message["name"]), token=str(message["token"]), concurrency=concurrency)
    server = HttpServer(application.answer)
    described = {"inputs": plain(executor.inputs), "outputs": plain(executor.outputs)}
    return server, {"type": "serving", "port": server.start()} | described


def open_to_serve(message: Message) -> Executor:
    """Open the prompt flow for good. Raises `AdapterFailed`."""
    executor = open_flow({**message, "count_tokens": False})  # nobody asks a server for them
    gc.freeze()  # what was imported stays: looking through it again would hold up requests
    return executor


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
