"""Tokens for a server that wants them: fresh for each request, for that server only, and refusals in its own words."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from orchestration import tracking
from orchestration.errors import ConfigurationError, PlatformError, PlatformUnavailable
from orchestration.tracking import bearer

UNKNOWN = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is no such experiment"}


class Server(ThreadingHTTPServer):
    """Answers every request alike and remembers the token of each."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tokens: list[str | None] = []
        self.answer: tuple[int, dict] = (404, UNKNOWN)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mlflow/v1.0/workspaces/w"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.tokens.append(self.headers.get("Authorization"))
        status, body = self.server.answer
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    """Nothing of this is left in the process."""
    monkeypatch.setattr(bearer, "_tokens", {})
    monkeypatch.setenv(bearer.VARIABLE, "")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def look(store: tracking.Store) -> object:
    return tracking.find_basis(store, "echo", "0" * 64)


def refuse() -> str:
    raise ConfigurationError("The sign-in failed.")


def test_each_request_carries_the_token_of_its_moment(server, tmp_path):
    tokens = iter(f"t{n}" for n in range(9))
    given = []
    store = tracking.Store(server.url, "", tmp_path / "lock", token=lambda: given.append(next(tokens)) or given[-1])
    assert (look(store), look(store)) == (None, None)
    first, second = server.tokens
    assert first != second
    assert {first, second} <= {f"Bearer {token}" for token in given}
    assert not any(token in " ".join(os.environ.values()) for token in given)


def test_no_other_server_sees_the_token(server, tmp_path):
    other = Server()
    thread = threading.Thread(target=other.serve_forever, args=(0.01,))
    thread.start()
    try:
        look(tracking.Store(server.url, "", tmp_path / "lock", token=lambda: "canary"))
        look(tracking.Store(other.url, "", tmp_path / "lock"))
        look(tracking.Store(f"{server.url}-too", "", tmp_path / "lock"))  # begins alike
    finally:
        other.shutdown()
        thread.join()
        other.server_close()
    assert (server.tokens, other.tokens) == (["Bearer canary", None], [None])


def test_a_sign_in_that_fails_says_so_itself(server, tmp_path):
    with pytest.raises(ConfigurationError, match=r"^The sign-in failed\.$"):
        look(tracking.Store(server.url, "", tmp_path / "lock", token=refuse))
    assert server.tokens == []


@pytest.mark.parametrize(
    ("code", "inner", "kind"),
    [
        ("UserError", "AuthorizationError", ConfigurationError),
        ("UserError", "BadArgument", PlatformError),
        ("ServiceError", None, PlatformUnavailable),
    ],
)
def test_a_workspaces_own_words_are_kept(server, tmp_path, code, inner, kind):
    error = {"code": code, "message": "No, for a reason.\nDetails.", "innerError": {"code": inner} if inner else None}
    server.answer = (403, {"error": error, "correlation": {"operation": "x"}, "componentName": "mlflow"})
    with pytest.raises((ConfigurationError, PlatformError)) as raised:
        look(tracking.Store(server.url, "", tmp_path / "lock", token=lambda: "t"))
    assert type(raised.value) is kind
    assert "No, for a reason." in str(raised.value)
    assert "correlation" not in str(raised.value)
