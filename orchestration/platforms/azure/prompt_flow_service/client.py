"""The process in which prompt flow's own client runs, and the talk with it. Tokens go down its pipe, never elsewhere."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from orchestration.errors import PlatformError, PlatformUnavailable, ProvisioningFailed
from orchestration.platforms.azure.errors import OutcomeUnknown, refusal, translated
from orchestration.platforms.azure.faults import Said, one_line
from orchestration.platforms.azure.workspace import Session
from orchestration.processes import clean_environment

SCRIPT = Path(__file__).with_name("client_script.py")
QUIET = {"APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true"}  # telemetry's own settings, which it looks for
CALL_SECONDS = 900.0  # an upload over a slow line
END_SECONDS = 5.0
AGAIN = "Run the same command again."


class Client:
    """A client in a process of its own, signed in to the session's workspace. A context manager that ends it.

    `python` is the interpreter of a runtime with `promptflow[azure]`; what it prints goes to `log`, anew each time.
    """

    def __init__(self, python: Path, session: Session, log: Path) -> None:
        self._python, self._session, self._log = python, session, log
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self._home = tempfile.mkdtemp(prefix="sluice-prompt-flow-")
        try:
            self._start()
            workspace = self._session.workspace
            self.call(
                "open the workspace for prompt flow's service",
                "open",
                subscription_id=workspace.subscription_id,
                resource_group_name=workspace.resource_group,
                workspace_name=workspace.workspace,
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def call(self, what: str, do: str, **given: Any) -> Any:
        """The result of one action of the script. `what` is for messages. Raises `PlatformError`, `ConfigurationError`."""
        self._send({"do": do, **given})
        deadline = time.monotonic() + CALL_SECONDS
        while True:
            answer = self._receive(what, deadline)
            if "need" in answer:
                self._give_token(answer["scopes"])
            elif "failed" in answer:
                raise _error(what, answer["failed"])
            else:
                return answer["result"]

    def _start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        environment = clean_environment({"HOME": self._home, "PF_HOME_DIRECTORY": self._home, **QUIET}, web=True)
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [str(self._python.absolute()), "-I", str(SCRIPT)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=self._home,
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise PlatformError(f"Prompt flow's client can't be started: {error.strerror}.") from error
        threading.Thread(target=self._read, name="prompt flow's client", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise self._gone() from None

    def _receive(self, what: str, deadline: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise OutcomeUnknown(
                f"Prompt flow's client did not {what} within {CALL_SECONDS:g} s.", cure=AGAIN
            ) from None
        if line is None:
            raise self._gone()
        found: dict[str, Any] = json.loads(line)
        return found

    def _give_token(self, scopes: list[str]) -> None:
        with translated("sign in for prompt flow's service"):
            token = self._session.credential.get_token(*scopes)
        self._send({"token": token.token, "expires_on": token.expires_on})

    def _gone(self) -> PlatformUnavailable:
        printed = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = one_line(printed[-1]) if printed else "it printed nothing"
        return PlatformUnavailable(f"Prompt flow's client ended: {last}.", cure=f"See {self._log}.")

    def _end(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


def _error(what: str, failed: Mapping[str, Any]) -> Exception:
    """What the script says went wrong, as one of our errors."""
    message = one_line(failed["message"])
    if failed["transient"]:
        return OutcomeUnknown(f"Azure did not answer: {what}: {message}", cure=AGAIN)
    if failed["status"]:
        return refusal(what, Said(failed["status"], (), message))
    return ProvisioningFailed(f"Prompt flow's client did not {what}: {message}")
