"""The model proxy of a container: what a provider gets, and what user code gets back."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from runner_fixture import RUNTIME

from orchestration.model_proxy.translate import Untranslatable as TheirUntranslatable
from orchestration.model_proxy.translate import translate as their_translate
from orchestration.model_proxy.upstream import Upstream

sys.path.insert(0, str(RUNTIME))
from sluice_runner.azure.connections import Model
from sluice_runner.azure.identity import Identity
from sluice_runner.model_calls import ModelCalls, Waiting
from sluice_runner.model_paths import Untranslatable, translate

KEY = "k-0123456789abcdef"
BODIES = [
    b'{"model": "asked", "messages": []}',
    b'{"model": "bound", "messages": []}',
    b'{"messages": ["\\ud83d\\ude00"]}',
    b"[1]",
    b"{",
    b"",
]
PATHS = [
    "/openai/deployments/asked%20one/chat/completions",
    "/openai/deployments/asked/something/new",
    "/openai/models",
    "/v1/chat/completions",
    "/v1/responses",
    "/openai/v1/chat/completions",
    "/else",
]


class Provider(ThreadingHTTPServer):
    """Gives `answers` one after the other, the last for ever; keeps what was asked and counts connections."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, bytes, dict[str, str]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.close_after_answer = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.command, self.path, headers, body))
        answers = self.server.answers
        status, data, more = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        if self.server.close_after_answer:  # without having said so
            self.close_connection = True

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def provider(*answers: tuple[int, bytes, dict[str, str]]) -> Iterator[Provider]:
    server = Provider(*(answers or [(200, b'{"ok": 1}', {})]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Caller:
    """User code with one connection to the model proxy."""

    def __init__(self, model: Model, *, seconds: float = 60.0, tokens: Any = (), renew: Any = None) -> None:
        self.log: list[str] = []
        self.slept: list[float] = []
        given = iter(tokens)
        identity = Identity(
            {"MSI_ENDPOINT": "http://127.0.0.1:9/", "MSI_SECRET": "s"},
            ask=lambda _: {"access_token": next(given), "expires_in": 86400},
        )
        waiting = Waiting(seconds, self.slept.append, lambda: sum(self.slept))
        found = renew or (lambda _: None)
        self.calls = ModelCalls({"aoai": model}, identity, log=self.log.append, renew=found, waiting=waiting)
        self.connection = self.calls.start()["aoai"]
        url = urlsplit(str(self.connection["base_url"]))
        self._client, self._base = http.client.HTTPConnection(url.netloc, timeout=10), url.path

    def post(self, path: str, body: Any = None, base: str | None = None, **headers: str) -> tuple[int, bytes, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        sent = {"content-type": "application/json", "api-key": "sluice", "authorization": "Bearer sluice"} | headers
        self._client.request("POST", (self._base if base is None else base) + path, data, sent)
        answer = self._client.getresponse()
        return answer.status, answer.read(), answer.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self.calls.stop()


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["azure_openai", "openai"])
@pytest.mark.parametrize("deployment", [None, "bound"])
@pytest.mark.parametrize("base", ["https://h.example", "https://h.example/openai", "https://h.example/v2"])
def test_paths_and_bodies_are_those_of_the_evaluation(kind, path, body, deployment, base) -> None:
    query = "api-version=2023-05-15&more=a%26b"
    try:
        theirs = their_translate(
            Upstream(kind, base, api_version=None, deployment=deployment), path, query, body, is_json=True
        )
    except TheirUntranslatable as error:
        with pytest.raises(Untranslatable, match=str(error)):
            translate(Model(kind, base, KEY, None, deployment), path, query, body, is_json=True)
        return
    url, sent = translate(Model(kind, base, KEY, None, deployment), path, query, body, is_json=True)
    assert url == theirs.url
    assert sent == theirs.body or json.loads(sent) == json.loads(theirs.body)


def test_the_key_is_put_in_and_the_dummy_is_not_sent_on() -> None:
    with provider() as server, Caller(Model("azure_openai", server.url, KEY, "2024-06-01", "gpt")) as caller:
        status, body, _ = caller.post("/openai/deployments/other/chat/completions?api-version=1", {"messages": []})
    method, path, headers, sent = server.asked[0]
    assert (status, body) == (200, b'{"ok": 1}')
    assert (method, path) == ("POST", "/openai/deployments/gpt/chat/completions?api-version=2024-06-01")
    assert headers["api-key"] == KEY
    assert "authorization" not in headers
    assert json.loads(sent) == {"messages": []}
    assert caller.connection["api_key"] == "sluice"
    assert caller.connection["model"] == "gpt"


def test_openai_gets_its_key_as_a_bearer_and_the_bound_model() -> None:
    with provider() as server, Caller(Model("openai", server.url, KEY, None, "gpt")) as caller:
        caller.post("/v1/chat/completions", {"model": "x"})
    _, path, headers, sent = server.asked[0]
    assert (path, headers["authorization"], json.loads(sent)) == (
        "/v1/chat/completions",
        f"Bearer {KEY}",
        {"model": "gpt"},
    )
    assert "api-key" not in headers


def test_without_a_key_the_identity_signs_in_and_a_refused_token_is_replaced() -> None:
    answers = [(200, b"{}", {}), (401, b"{}", {}), (200, b"{}", {})]
    with provider(*answers) as server, Caller(Model("azure_openai", server.url, None), tokens=["one", "two"]) as caller:
        assert [caller.post("/v1/chat/completions", {"model": "m"})[0] for _ in range(2)] == [200, 200]
    assert [headers["authorization"] for _, _, headers, _ in server.asked] == ["Bearer one", "Bearer one", "Bearer two"]


def test_a_rotated_key_is_read_again_when_the_old_one_is_refused() -> None:
    asked: list[str] = []

    def renew(name: str) -> Model:
        asked.append(name)
        return Model("openai", server.url, "new-key-0123")

    answers = [(401, b"{}", {}), (200, b"{}", {}), (200, b"{}", {}), (401, b"{}", {}), (401, b"{}", {})]
    with provider(*answers) as server, Caller(Model("openai", server.url, KEY), renew=renew) as caller:
        assert [caller.post("/v1/x", {})[0] for _ in range(4)] == [200, 200, 401, 401]
    keys = [headers["authorization"] for _, _, headers, _ in server.asked]
    assert keys == [f"Bearer {KEY}", *["Bearer new-key-0123"] * 4]
    assert asked == ["aoai"]  # not again within a minute
    assert caller.log[0] == "model calls by aoai: the key was rotated"


@pytest.mark.parametrize("change", [{"base_url": "http://127.0.0.1:1"}, {"kind": "azure_openai"}, {"key": KEY}])
def test_a_connection_that_leads_elsewhere_now_is_not_followed(change: dict[str, str]) -> None:
    with provider((401, b"{}", {})) as server:
        renewed = Model(**({"kind": "openai", "base_url": server.url, "key": "other-key"} | change))
        with Caller(Model("openai", server.url, KEY), renew=lambda _: renewed) as caller:
            assert caller.post("/v1/x", {})[0] == 401
        assert len(server.asked) == 1


def test_streams_arrive_whole() -> None:
    events = b'data: {"a": 1}\n\ndata: [DONE]\n\n'
    answer = (200, events, {"content-type": "text/event-stream"})
    with provider(answer) as server, Caller(Model("openai", server.url, KEY)) as caller:
        status, body, headers = caller.post("/v1/chat/completions", {"stream": True})
    assert (status, body, headers["content-type"]) == (200, events, "text/event-stream")


def test_a_limit_is_waited_out_as_long_as_the_provider_asks() -> None:
    busy = (429, b"{}", {"Retry-After": "7"})
    with provider(busy, busy, (200, b"{}", {})) as server, Caller(Model("openai", server.url, KEY)) as caller:
        assert caller.post("/v1/x", {})[0] == 200
    assert caller.slept == [7.0, 7.0]
    assert caller.log == []


def test_what_does_not_end_is_handed_back_and_not_repeated_again() -> None:
    with provider((503, b'{"error": {}}', {"retry-after-ms": "9000"})) as server:
        with Caller(Model("openai", server.url, KEY), seconds=30) as caller:
            status, _, headers = caller.post("/v1/x", {})
        assert (status, headers["x-should-retry"]) == (503, "false")
        assert len(server.asked) == 4
        assert caller.log == ["model call by aoai: the provider answered 503"]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_is_not_repeated_and_shows_no_key(status: int) -> None:
    refusal = (status, b'{"error": "bad key %s"}' % KEY.encode(), {})
    with provider(refusal) as server, Caller(Model("azure_openai", server.url, KEY)) as caller:
        said, body, _ = caller.post("/v1/chat/completions", {"model": "m"})
        assert len(server.asked) == 1
    assert (said, body) == (status, b'{"error": "bad key ***"}')
    assert KEY not in "".join(caller.log)


def test_no_provider_is_502_and_no_token_503() -> None:
    with Caller(Model("openai", "http://127.0.0.1:9", KEY), seconds=2) as caller:
        assert caller.post("/v1/x", {})[0] == 502
    with Caller(Model("azure_openai", "http://127.0.0.1:9", None), seconds=2, tokens=[""] * 99) as caller:
        status, body, _ = caller.post("/v1/x", {})
    assert status == 503
    assert b"managed identity" in body


def test_connections_are_kept_and_a_dead_one_is_replaced() -> None:
    with provider() as server, Caller(Model("openai", server.url, KEY)) as caller:
        for _ in range(3):
            assert caller.post("/v1/x", {})[0] == 200
        assert server.connections == 1
        server.close_after_answer = True
        for _ in range(3):
            assert caller.post("/v1/x", {})[0] == 200
        assert 3 <= server.connections <= 4
    assert len(server.asked) == 6


@pytest.mark.parametrize("base", ["", "/", "/wrong/aoai", "/{secret}", "/{secret}/other"])
def test_strangers_on_this_machine_get_nothing(base: str) -> None:
    with provider() as server, Caller(Model("openai", server.url, KEY)) as caller:
        secret = urlsplit(str(caller.connection["base_url"])).path.split("/")[1]
        assert caller.post("/v1/x", {}, base=base.format(secret=secret))[0] == 404
    assert server.asked == []


def test_calls_go_through_the_web_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with provider() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with Caller(Model("openai", "http://models.example", KEY), seconds=0) as caller:
            assert caller.post("/v1/x", {})[0] == 502  # this one makes no tunnels
        monkeypatch.setenv("no_proxy", "127.0.0.1,models.example")
        assert proxy.asked == []
    assert proxy.connections == 1
