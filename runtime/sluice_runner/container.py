"""`python -m sluice_runner.container`: serves a mounted prompt flow behind an Azure ML online endpoint.

    AZUREML_MODEL_DIR        where Azure ML mounts the registered model: <here>/<its folder>/flow/...
    PRT_CONFIG_OVERRIDE      deployment.subscription_id=...,deployment.resource_group=...,deployment.workspace_name=...,
                             deployment.endpoint_name=...,deployment.deployment_name=...
    SLUICE_CONNECTIONS       {"<name in the prompt flow>": {"connection": "<of the workspace>", "model_deployment": ...}}
    SLUICE_VARIANT           ${node.variant}, if one was judged
    SLUICE_CONTENT           content hash that the decision names: other files are not served
    SLUICE_CONCURRENCY       requests at a time; 16
    SLUICE_ACCESS_SECONDS    how long to wait for the right to read the connections; 240
    SLUICE_PORT              8080

Azure's front door authenticates the callers, so no token is asked for here. Exit code 1, and one line that says why,
if it can't serve; 0 after SIGTERM, when the requests in flight are answered.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice_runner import printed
from sluice_runner.adapters import clean_up, find_adapter
from sluice_runner.adapters.base import AdapterFailed, OpenFailed
from sluice_runner.azure.connections import Unusable
from sluice_runner.azure.identity import Identity
from sluice_runner.container_connections import Bound, ContainerConnections
from sluice_runner.model_files import ModelChanged, check
from sluice_runner.redaction import Redactor, guard_output
from sluice_runner.serve import Application, log, open_to_serve
from sluice_runner.serve_http import Answer, HttpServer, Request

LAST_REQUESTS_SECONDS = 25.0  # Azure ends the container by force a little later
LOOPBACK = "127.0.0.1,localhost"
WORKSPACE = ("subscription_id", "resource_group", "workspace_name")
FAILED = 1  # exit code


class Refused(Exception):
    """The container can't serve; one line that says why."""


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment says. `workspace` is its ARM id, empty where no connection is needed."""

    model_folder: Path
    workspace: str
    name: str
    connections: Mapping[str, Bound]
    variant: str | None
    content_hash: str
    concurrency: int
    access_seconds: float
    port: int

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Config:
        """Raises `Refused` with the variable that is missing or wrong."""
        place = _place(given.get("PRT_CONFIG_OVERRIDE", ""))
        connections = _connections(given.get("SLUICE_CONNECTIONS") or "{}")
        missing = [f"deployment.{key}" for key in WORKSPACE if not place.get(key)]
        if connections and missing:
            raise Refused(f"PRT_CONFIG_OVERRIDE lacks {', '.join(missing)}, so the connections can't be read")
        if not given.get("AZUREML_MODEL_DIR"):
            raise Refused("AZUREML_MODEL_DIR is not set: no model is mounted")
        return cls(
            model_folder=Path(given["AZUREML_MODEL_DIR"]),
            workspace="" if missing else _arm_id(*(place[key] for key in WORKSPACE)),
            name=place.get("deployment_name") or "local",
            connections=connections,
            variant=given.get("SLUICE_VARIANT") or None,
            content_hash=given.get("SLUICE_CONTENT", ""),
            concurrency=int(_number(given, "SLUICE_CONCURRENCY", 16, least=1)),
            access_seconds=_number(given, "SLUICE_ACCESS_SECONDS", 240, least=0),
            port=int(_number(given, "SLUICE_PORT", 8080, least=0)),
        )


def main() -> None:
    """Serve until SIGTERM. Ends the process: threads of user code that hang don't hold it."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        code = serve(os.environ, stop)
    except (Refused, Unusable, ModelChanged) as error:
        log(f"can't serve: {error}")
        code = FAILED
    clean_up()
    printed.flush()
    os._exit(code)


def serve(environment: Mapping[str, str], stop: threading.Event) -> int:
    """Open the prompt flow, listen, and answer until `stop`; returns the exit code."""
    config = Config.read(environment)
    flow = find_flow(config.model_folder)
    if config.content_hash:
        check(flow.parent, config.content_hash, variant=config.variant)
    connections = ContainerConnections(
        config.workspace,
        config.connections,
        Identity(environment),
        seconds=config.access_seconds,
        sleep=stop.wait,
        log=log,
    )
    finish = guard_output(connections.redactor) if connections.redactor else _nothing
    try:
        return _serve(config, flow, connections, stop)
    except AdapterFailed as error:
        log(f"can't serve: {f'{error.where}: ' if error.where else ''}{error.message} ({error.code})")
        return FAILED
    finally:
        finish()
        connections.close()


def _serve(config: Config, flow: Path, connections: ContainerConnections, stop: threading.Event) -> int:
    _keep_loopback_direct()
    message = {"flow": str(flow), "variant": config.variant, "connections": connections.described, "overrides": {}}
    executor = open_to_serve({**message, "trace": False, "concurrency": config.concurrency})
    application = Application(executor, name=config.name, token=None, concurrency=config.concurrency)
    server = _listen(_answering(application, connections.redactor), config.port)
    log(f"{config.name} serves {flow.parent.name} ({executor.framework}) on port {server.start()}")
    stop.wait()
    log("asked to end: finishing the requests in flight")
    if not server.stop(LAST_REQUESTS_SECONDS):
        log(f"ended with requests in flight after {LAST_REQUESTS_SECONDS:g} s")
    return 0


def find_flow(model: Path) -> Path:
    """The prompt flow's folder in the mounted model. Raises `Refused` if there is none, or more than one."""
    if not model.is_dir():
        raise Refused(f"AZUREML_MODEL_DIR names {model}, which is no folder")
    folders = [model, *sorted(path for path in model.iterdir() if path.is_dir())]
    for found in ([f / "flow" for f in folders if _is_flow(f / "flow")], [f for f in folders if _is_flow(f)]):
        if len(found) == 1:
            return found[0]
        if found:
            raise Refused(f"{model} holds more than one prompt flow: {', '.join(str(path) for path in found)}")
    raise Refused(f"{model} holds no prompt flow: {', '.join(path.name for path in folders[1:]) or 'it is empty'}")


def _answering(application: Application, redactor: Redactor) -> Callable[[Request], Answer]:
    """What the application answers, without secrets."""

    def answer(request: Request) -> Answer:
        found = application.answer(request)
        return Answer(found.status, redactor.clean_json(found.body))

    return answer if redactor else application.answer


def _nothing() -> None:
    """Nothing to finish."""


def _listen(answer: Callable[[Request], Answer], port: int) -> HttpServer:
    try:
        return HttpServer(answer, host="0.0.0.0", port=port)  # noqa: S104 - the front door comes from outside
    except OSError as error:
        raise Refused(f"port {port} can't be opened: {error.strerror}") from None


def _keep_loopback_direct() -> None:
    """Calls to the model proxy on this machine go through no web proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), LOOPBACK)))


def _is_flow(folder: Path) -> bool:
    try:
        return bool(find_adapter(folder))
    except OpenFailed:
        return False


def _place(text: str) -> dict[str, str]:
    """`deployment.<key>=<value>` parts; nothing in them is escaped."""
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {key.strip().removeprefix("deployment."): value.strip() for key, _, value in pairs}


def _arm_id(subscription: str, group: str, workspace: str) -> str:
    provider = "providers/Microsoft.MachineLearningServices/workspaces"
    return f"/subscriptions/{subscription}/resourceGroups/{group}/{provider}/{workspace}"


def _connections(text: str) -> dict[str, Bound]:
    try:
        given = json.loads(text)
        return {name: Bound(str(each["connection"]), each.get("model_deployment")) for name, each in given.items()}
    except (ValueError, KeyError, AttributeError, TypeError):
        shape = '{"<name>": {"connection": "<of the workspace>", "model_deployment": null}}'
        raise Refused(f"SLUICE_CONNECTIONS is not JSON like {shape}") from None


def _number(given: Mapping[str, str], name: str, default: float, *, least: float) -> float:
    try:
        value = float(given.get(name) or default)
    except ValueError:
        raise Refused(f"{name} is no number: {given[name]!r}") from None
    if not least <= value < 1e6:
        raise Refused(f"{name} is {given[name]}, must be {least:g} or more")
    return value


if __name__ == "__main__":
    main()
