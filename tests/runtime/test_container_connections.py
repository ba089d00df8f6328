"""How a container gets its identity's tokens and the workspace's connections."""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from runner_fixture import RUNTIME
from workspace_shapes import CUSTOM, KEY, MODELS, UNUSABLE

sys.path.insert(0, str(RUNTIME))
from sluice_runner.azure.connections import Custom, Model, Patience, Unusable, read, understand
from sluice_runner.azure.identity import Identity
from sluice_runner.azure.web import NoAnswer

ARM = "https://management.azure.com/"
WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w"


class Loopback(ThreadingHTTPServer):
    """Gives `answers` one after the other, the last for ever; keeps what was asked."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, Any, dict[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/MSI/token"


class Handler(BaseHTTPRequestHandler):
    server: Loopback

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((parts.path, dict(parse_qsl(parts.query)), headers))
        answers = self.server.answers
        status, body, more = answers.pop(0) if len(answers) > 1 else answers[0]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(data)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def loopback(*answers: tuple[int, Any, dict[str, str]]) -> Iterator[Loopback]:
    server = Loopback(*answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def token(value: str = "t", **fields: Any) -> tuple[int, Any, dict[str, str]]:
    return 200, {"access_token": value, "expires_on": "2000", **fields}, {}


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


def test_azure_ml_gives_tokens_by_its_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # the secret of this machine is for nobody on the way
    with loopback(token()) as server:
        environment = {"MSI_ENDPOINT": server.url, "MSI_SECRET": "s", "AZURE_CLIENT_ID": "client"}
        assert Identity(environment, now=lambda: 0.0).token(ARM) == "t"
    path, query, headers = server.asked[0]
    assert path == "/MSI/token"
    assert query == {"api-version": "2017-09-01", "resource": ARM, "clientid": "client"}
    assert headers["secret"] == "s"


def test_the_newer_variables_come_first() -> None:
    with loopback(token()) as server:
        environment = {"IDENTITY_ENDPOINT": server.url, "IDENTITY_HEADER": "h", "MSI_ENDPOINT": "x", "MSI_SECRET": "y"}
        assert Identity(environment, now=lambda: 0.0).token(ARM) == "t"
    _, query, headers = server.asked[0]
    assert query == {"api-version": "2019-08-01", "resource": ARM}
    assert headers["x-identity-header"] == "h"


@pytest.mark.parametrize(
    "fields",
    [{"expires_on": 1400}, {"expires_on": "1400"}, {"expires_on": "06/20/2019 02:57:58 +00:00", "expires_in": "1400"}],
)
def test_a_token_is_kept_until_shortly_before_its_end(fields: dict[str, Any]) -> None:
    time = Time()
    with loopback(token("one", **fields), token("two")) as server:
        identity = Identity({"MSI_ENDPOINT": server.url, "MSI_SECRET": "s"}, now=time.now)
        assert [identity.token(ARM), identity.token(ARM)] == ["one", "one"]
        assert identity.token("other") == "two"
        time.sleep(1101)
        assert identity.token(ARM) == "two"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((400, {"error": {"code": "invalid_request", "message": "Identity not\nfound"}}, {}), "Identity not found"),
        ((200, {"expires_on": 1}, {}), "holds none"),
        ((200, b"<html>", {}), "not JSON"),
        ((302, b"", {"Location": "http://127.0.0.1:9/"}), "302"),
        ((500, b"\xff", {}), "500"),
    ],
)
def test_no_token_is_one_line_without_secrets(answer: tuple[int, Any, dict[str, str]], says: str) -> None:
    with loopback(answer) as server:
        identity = Identity({"MSI_ENDPOINT": server.url, "MSI_SECRET": "hidden"}, now=lambda: 0.0)
        with pytest.raises(NoAnswer, match="gave no token") as raised:
            identity.token(ARM)
    text = str(raised.value)
    assert says in text
    assert "hidden" not in text
    assert "\n" not in text


def test_nobody_listening_is_an_error_that_may_pass() -> None:
    with pytest.raises(NoAnswer) as raised:
        Identity({"MSI_ENDPOINT": "http://127.0.0.1:9/", "MSI_SECRET": "s"}).token(ARM)
    assert not raised.value.final


class Arm:
    """Answers `listsecrets` by script: a status to refuse with, an error, or properties."""

    def __init__(self, *script: Any) -> None:
        self.script = iter(script)
        self.asked: list[Any] = []

    def __call__(self, request: Any) -> Any:
        self.asked.append(request)
        step = next(self.script)
        if isinstance(step, Exception):
            raise step
        return {"id": "x", "properties": step}


class GivenIdentity(Identity):
    """Numbers its tokens."""

    def __init__(self) -> None:
        numbers = itertools.count(1)
        super().__init__(
            {"MSI_ENDPOINT": "http://127.0.0.1:9/", "MSI_SECRET": "s"},
            ask=lambda _: {"access_token": f"token-{next(numbers)}", "expires_in": "86400"},
        )


def ask_arm(*script: Any, seconds: float = 240) -> tuple[Mapping[str, Any], Arm, list[str], Time]:
    arm, time, log = Arm(*script), Time(), list[str]()
    found = read(
        WORKSPACE,
        "my aoai",
        GivenIdentity(),
        patience=Patience(seconds, time.sleep, time.now),
        log=log.append,
        ask=arm,
    )
    return found, arm, log, time


def test_a_connection_is_read_with_its_secrets() -> None:
    found, arm, log, _ = ask_arm({"category": "ApiKey"})
    request = arm.asked[0]
    assert found == {"category": "ApiKey"}
    assert request.full_url.startswith(f"https://management.azure.com{WORKSPACE}/connections/my%20aoai/listsecrets?")
    assert (request.method, request.data) == ("POST", b"")
    assert request.get_header("Authorization") == "Bearer token-1"
    assert log == []


def test_a_role_that_does_not_work_yet_is_waited_for() -> None:
    refusal = NoAnswer("status 403: AuthorizationFailed: no", status=403)
    _, arm, log, time = ask_arm(refusal, refusal, NoAnswer("status 401", status=401), {"category": "ApiKey"})
    assert time.slept == [2, 4, 8]
    assert len(log) == 3
    assert all("connection my aoai" in line and "trying again in" in line for line in log)
    assert "takes minutes" in log[0]
    assert [r.get_header("Authorization") for r in arm.asked] == ["Bearer token-1"] * 3 + ["Bearer token-2"]


def test_what_azure_asks_to_wait_is_waited() -> None:
    _, _, _, time = ask_arm(NoAnswer("status 429", status=429, after=17), NoAnswer("gone"), {"category": "ApiKey"})
    assert time.slept == [17, 4]


def test_waiting_has_an_end_and_the_last_line_says_what_to_do() -> None:
    with pytest.raises(Unusable, match="Connection Secrets Reader"):
        ask_arm(*[NoAnswer("status 403", status=403)] * 30, seconds=100)


@pytest.mark.parametrize(
    "error", [NoAnswer("status 404: NotFound: x", status=404), NoAnswer("no identity here", final=True)]
)
def test_what_cannot_pass_is_not_waited_for(error: NoAnswer) -> None:
    with pytest.raises(Unusable, match="my aoai") as raised:
        ask_arm(error)
    assert str(error) in str(raised.value)


def test_an_end_that_is_asked_for_ends_the_waiting() -> None:
    asked_to_end = Patience(240, lambda _: True)
    with pytest.raises(Unusable, match="ended"):
        read(
            WORKSPACE,
            "c",
            GivenIdentity(),
            patience=asked_to_end,
            log=lambda _: None,
            ask=Arm(NoAnswer("x", status=503)),
        )


@pytest.mark.parametrize("name", MODELS)
def test_models_are_understood(name: str) -> None:
    properties, kind, base_url, version, key = MODELS[name]
    found = understand("c", properties, deployment="gpt")
    assert found == Model(kind, base_url, key, version, "gpt")
    assert KEY not in repr(found)


def test_custom_keys_are_understood() -> None:
    found = understand("c", CUSTOM, deployment=None)
    assert found == Custom({"url": "https://x.example"}, {"token": KEY})
    assert KEY not in repr(found)


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_used_is_said(name: str) -> None:
    properties, says = UNUSABLE[name]
    with pytest.raises(Unusable, match=says) as raised:
        understand("my aoai", properties, deployment=None)
    assert "my aoai" in str(raised.value)
    assert KEY not in str(raised.value)
