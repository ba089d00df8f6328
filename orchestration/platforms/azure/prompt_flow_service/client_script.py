"""Runs in a runtime that has `promptflow[azure]`: does with its client what it is told, one JSON line for each answer.

Standard library only, until it is told to open a workspace; nothing of the orchestrator can be imported there. To it
`{"do": …}` and, asked for one, `{"token": …, "expires_on": …}`; from it `{"need": "token", "scopes": […]}`, then
`{"result": …}` or `{"failed": {"message", "status", "transient"}}`. No token is stored, printed or inherited.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

LONGEST = 2000
QUIET = "telemetry: {enabled: false}\ntrace: {destination: none}\n"
STATUS = re.compile(r"(?:Status code|Code): (\d{3})\b")
# What a lost connection is called by the libraries below; their own classes need not be imported for that.
LOST = {"ConnectionError", "Timeout", "ServiceRequestError", "ServiceResponseError", "IncompleteReadError"}


class Pipes:
    """The two pipes to the orchestrator. Whatever the libraries print goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def receive(self) -> Any:
        """The next message; None when there will be no more."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        self._out.write(f"{json.dumps(message)}\n")
        self._out.flush()

    def ask(self, message: Mapping[str, Any]) -> Any:
        """Send one and wait for its answer; several threads may want tokens at once."""
        with self._lock:
            self.send(message)
            return self.receive()


class Credential:
    """A credential of azure-core whose tokens are the orchestrator's, asked for when they are needed."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes

    def get_token(self, *scopes: str, **_: Any) -> Any:
        """A token for the scopes."""
        from azure.core.credentials import AccessToken  # noqa: PLC0415 - only the runtime has what is needed

        answer = self._pipes.ask({"need": "token", "scopes": scopes})
        if answer is None:
            sys.exit("no more tokens")
        return AccessToken(answer["token"], answer["expires_on"])


class Service:
    """Prompt flow's client, opened for one workspace."""

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes
        self._client: Any = None

    @property
    def actions(self) -> Mapping[str, Callable[..., Any]]:
        """What can be asked for."""
        return {
            "open": self.open,
            "submit": self.submit,
            "status": self.status,
            "lines": self.lines,
            "metrics": self.metrics,
            "cancel": self.cancel,
        }

    def open(self, **workspace: str) -> None:
        """Sign in; telemetry and the search for newer versions are off."""
        from azure.ai.ml import MLClient  # noqa: PLC0415
        from promptflow._sdk import _version_hint_utils  # noqa: PLC0415
        from promptflow.azure import PFClient  # noqa: PLC0415

        _version_hint_utils.HINT_ACTIVITY_NAME.clear()
        credential: Any = Credential(self._pipes)
        ml = MLClient(credential, **workspace, enable_telemetry=False, show_progress=False)
        self._client = PFClient(ml_client=ml)

    def submit(self, *, runtime: str, **order: Any) -> None:
        """Upload flow and data, and start the run of that name."""
        from promptflow.entities import Run  # noqa: PLC0415

        given = {name: value for name, value in order.items() if value}
        self._runs.create_or_update(Run(**given, type="batch"), runtime=runtime)

    def status(self, *, name: str) -> dict[str, Any] | None:
        """How a run stands; None if there is none of that name."""
        from promptflow.exceptions import PromptflowException  # noqa: PLC0415

        try:
            run = self._runs.get(name)
        except PromptflowException as error:
            if type(error).__name__ == "RunNotFoundError":
                return None
            raise
        told = getattr(run, "_error", None) or {}
        reason = told.get("error", told) if isinstance(told, dict) else {}
        return {"state": str(run.status), "message": str(reason.get("message") or "")}

    def lines(self, *, name: str) -> list[dict[str, Any]]:
        """What became of each line, in the words of the runner's `result`, and its number."""
        found = self._runs._get_flow_runs_pagination(name, max_results=sys.maxsize)  # noqa: SLF001 - there is no public way
        return [line(each) for each in found]

    def metrics(self, *, name: str) -> dict[str, Any]:
        """What the flow logged over all lines."""
        return dict(self._runs.get_metrics(name))

    def cancel(self, *, name: str) -> None:
        """Ask for the run's end."""
        self._runs.cancel(name)

    @property
    def _runs(self) -> Any:
        assert self._client is not None, "not opened"
        return self._client.runs


def line(record: Mapping[str, Any]) -> dict[str, Any]:
    """One line's record of prompt flow as a result."""
    counted = record.get("system_metrics") or {}
    tokens = {"prompt": counted.get("prompt_tokens") or 0, "completion": counted.get("completion_tokens") or 0}
    found: dict[str, Any] = {"number": record["index"], "seconds": seconds(record), "tokens": tokens}
    if record.get("status") == "Completed":
        return {**found, "status": "completed", "output": record.get("output")}
    error = record.get("error") or {}
    code = str(error.get("code") or "Raised")
    told = {"code": "Raised" if code.endswith("UserError") else code, "message": str(error.get("message") or "")}
    return {**found, "status": "failed", "error": told}


def seconds(record: Mapping[str, Any]) -> float:
    """How long the line took."""
    counted = (record.get("system_metrics") or {}).get("duration")
    if isinstance(counted, int | float):
        return float(counted)
    try:
        began, ended = (datetime.fromisoformat(str(record[name])) for name in ("start_time", "end_time"))
    except (KeyError, ValueError):
        return 0.0
    return (ended - began).total_seconds()


def failure(error: BaseException) -> dict[str, Any]:
    """What went wrong: the message, an HTTP status if there is one, and whether the answer was lost."""
    chain = list(causes(error))
    statuses = (getattr(each, "status_code", None) for each in chain)
    said = STATUS.search(str(error))
    status = next((each for each in statuses if isinstance(each, int)), int(said[1]) if said else None)
    lost = any(base.__name__ in LOST for each in chain for base in type(each).__mro__)
    return {"message": str(error)[:LONGEST], "status": status, "transient": lost and status is None}


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = getattr(error, "inner_exception", None) or error.__cause__ or error.__context__


def main() -> None:
    """Do what is asked until there is nothing more."""
    os.environ.setdefault("PF_HOME_DIRECTORY", str(Path.home()))
    (Path(os.environ["PF_HOME_DIRECTORY"]) / "pf.yaml").write_text(QUIET, encoding="utf-8")
    pipes = Pipes()
    service = Service(pipes)
    while (asked := pipes.receive()) is not None:
        do = service.actions[asked.pop("do")]
        try:
            pipes.send({"result": do(**asked)})
        except Exception as error:  # noqa: BLE001 - whatever it is, the orchestrator decides what it means
            traceback.print_exc()
            pipes.send({"failed": failure(error)})


if __name__ == "__main__":
    main()
