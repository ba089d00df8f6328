"""The model proxy of a container: user code calls it on loopback with a dummy key, and it calls the provider.

It speaks both shapes that prompt flows know, whatever the provider speaks, and puts in the model that the environment
binds, as the proxy of the evaluation does. A rate limit or a failure of the provider is waited out for a while.
"""

from __future__ import annotations

import http.client
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sluice_runner.azure.connections import Model
from sluice_runner.azure.identity import Identity
from sluice_runner.azure.web import NoAnswer
from sluice_runner.model_paths import Untranslatable, translate
from sluice_runner.serve import refuse
from sluice_runner.serve_http import Answer, HttpServer, Request
from sluice_runner.upstream import Connections

RESOURCE = "https://cognitiveservices.azure.com/"
DUMMY_KEY = "sluice"  # SDKs want some key
WORTH_REPEATING = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds
NOT_SENT = frozenset(
    {
        *("host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization"),
        *("content-length", "accept-encoding", "expect", "cookie"),
        *("authorization", "api-key", "x-api-key", "ocp-apim-subscription-key"),
    }
)
ASK_SECONDS = 60.0  # between two looks for a rotated key
NO_RETRY = {"x-should-retry": "false"}  # what SDKs heed: it was repeated here
Log = Callable[[str], None]
Renew = Callable[[str], Model | None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """For how many seconds a call is repeated; `sleep` and `now` are the clock."""

    seconds: float = 60.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


class ModelCalls:
    """Listens on loopback for the calls of user code; each client's connection has its own to the provider.

    `renew` reads the connection of a name again: a key that is refused may have been rotated.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        identity: Identity,
        *,
        log: Log,
        renew: Renew = lambda _: None,
        waiting: Waiting | None = None,
    ) -> None:
        self._models, self._identity, self._log = dict(models), identity, log
        self._renew, self._renewed, self._renewing = renew, dict[str, float](), threading.Lock()
        self._waiting = waiting or Waiting()
        self._secret = secrets.token_urlsafe(18)
        self._mine = threading.local()
        self._server = HttpServer(self._answer)

    def start(self) -> dict[str, dict[str, str | None]]:
        """Begin to listen; returns the connections as prompt flows get them."""
        port = self._server.start()
        base = f"http://127.0.0.1:{port}/{self._secret}"
        return {
            name: {"type": "llm", "base_url": f"{base}/{name}", "api_key": DUMMY_KEY, "model": model.deployment}
            for name, model in self._models.items()
        }

    def stop(self) -> None:
        """Accept nothing more."""
        self._server.stop(0.0)

    def _answer(self, request: Request) -> Answer:
        _, secret, name, path = [*request.path.split("/", 3), "", "", ""][:4]
        model = self._models.get(name)
        if model is None or not secrets.compare_digest(secret.encode(), self._secret.encode()):
            return refuse(404, "NotFound", "there is no such model connection")
        is_json = "json" in request.header("content-type")
        try:
            url, body = translate(model, f"/{path}", request.query, request.body, is_json=is_json)
        except Untranslatable as error:
            return refuse(400, "BadRequest", str(error))
        return self._call(name, Request(request.method, url, request.headers, body))

    def _call(self, name: str, request: Request) -> Answer:
        """Repeat until it worked or the time is over; then what the provider said last."""
        began, longest, refused = self._waiting.now(), FIRST_PAUSE, False
        while True:
            model = self._models[name]
            answer, reason = self._try(model, request)
            if answer.status == 401 and not refused and self._has_other(name, model):
                refused = True
                continue
            pause = max(_asked(answer), random.uniform(0, longest))  # noqa: S311 - spreading, not secrecy
            over = self._waiting.now() - began + pause > self._waiting.seconds
            if answer.status not in WORTH_REPEATING or b"insufficient_quota" in answer.body or over:
                if answer.status >= 400:
                    self._log(f"model call by {name}: {reason}")
                return _returned(answer, model)
            self._waiting.sleep(pause)
            longest = min(LONGEST_PAUSE, 2 * longest)

    def _try(self, model: Model, request: Request) -> tuple[Answer, str]:
        """One attempt: the answer, and what to log if it is none of success."""
        try:
            answer = self._connections().send(request, self._headers(model, request))
        except NoAnswer as error:
            return refuse(503, "ModelUnavailable", str(error)), str(error)
        except (OSError, http.client.HTTPException) as error:
            reason = f"the provider can't be reached: {type(error).__name__}"
            return refuse(502, "ModelUnreachable", reason), reason
        return answer, f"the provider answered {answer.status}"

    def _has_other(self, name: str, refused: Model) -> bool:
        """Whether there is another key or token than the refused one, for the same address."""
        if refused.key is None:
            self._identity.forget(RESOURCE)
            return True
        with self._renewing:
            if self._models[name] is not refused:
                return True  # another thread has just found it
            now = self._waiting.now()
            if now - self._renewed.get(name, -ASK_SECONDS) < ASK_SECONDS:
                return False
            self._renewed[name] = now
            found = self._renew(name)
            if found is None or found.key == refused.key or replace(found, key=None) != replace(refused, key=None):
                return False
            self._models[name] = found
        self._log(f"model calls by {name}: the key was rotated")
        return True

    def _connections(self) -> Connections:
        """This thread's: it serves one client, whose calls come one after the other."""
        if not hasattr(self._mine, "connections"):
            self._mine.connections = Connections()
        mine: Connections = self._mine.connections
        return mine

    def _headers(self, model: Model, request: Request) -> dict[str, str]:
        headers = {name: value for name, value in request.headers.items() if name not in NOT_SENT}
        headers["accept-encoding"] = "identity"
        if model.key is None:
            return headers | {"authorization": f"Bearer {self._identity.token(RESOURCE)}"}
        if model.kind == "azure_openai":
            return headers | {"api-key": model.key}
        return headers | {"authorization": f"Bearer {model.key}"}


def _asked(answer: Answer) -> float:
    """Seconds that the provider asks to wait."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(answer.headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    return 0.0


def _returned(answer: Answer, model: Model) -> Answer:
    """The answer for user code. Some servers repeat the key in their error messages."""
    if answer.status < 400:
        return Answer(answer.status, answer.body, answer.content_type)
    body = answer.body.replace(model.key.encode(), b"***") if model.key else answer.body
    return Answer(answer.status, body, answer.content_type, NO_RETRY)
