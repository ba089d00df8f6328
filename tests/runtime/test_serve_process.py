"""`python -m sluice_runner serve` as a process: what it says on its pipe, what it answers, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pytest

RUNTIME = Path(__file__).resolve().parents[2] / "runtime"
TOKEN = "a-token"
APP = """
import asyncio, os, sys, time
def answer(text: str, number: int = 1, do: str = ""):
    if do == "sleep":
        time.sleep(0.5)
    if do == "raise":
        raise ValueError("first\\nsecond")
    if do == "exit":
        sys.exit("enough")
    if do == "nan":
        return {"label": float("nan")}
    if do == "set":
        return {"label": {1}}
    if do == "stdin":
        return {"label": sys.stdin.read()}
    if do == "pipes":
        return {"label": os.popen("ls /proc/self/fd").read().split()}
    print("seen", text)
    return {"label": text, "number": number}
"""


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    pipe: BinaryIO
    said: dict[str, Any]

    def ask(self, method: str, path: str, body: Any = None, token: str | None = TOKEN) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.said["port"], timeout=10)
        headers = {} if token is None else {"x-sluice-token": token}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        status, text = answer.status, answer.read()
        connection.close()
        return status, json.loads(text)

    def score(self, **inputs: Any) -> tuple[int, Any]:
        return self.ask("POST", "/score", inputs)


@contextmanager
def started(folder: Path, log: Path, **fields: Any) -> Iterator[Server]:
    their_read, our_write = os.pipe()
    our_read, their_write = os.pipe()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice_runner", "serve", "--in", str(their_read), "--out", str(their_write)],
            pass_fds=(their_read, their_write),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"PYTHONPATH": str(RUNTIME), "PATH": os.environ["PATH"]},
        )
    os.close(their_read)
    os.close(their_write)
    message = {"type": "open", "protocol": 1, "flow": str(folder), "variant": None, "connections": {}, "overrides": {}}
    message |= {"concurrency": 4, "trace": False, "token": TOKEN, "name": "blue"} | fields
    pipe = os.fdopen(our_write, "wb", buffering=0)
    try:
        with os.fdopen(our_read, "rb") as answers:
            pipe.write(json.dumps(message).encode() + b"\n")
            yield Server(process, pipe, json.loads(answers.readline()))
    finally:
        pipe.close()
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow")
    (folder / "callable.toml").write_text('entry = "app:answer"\noutputs = ["label"]\n')
    (folder / "app.py").write_text(APP)
    return folder


@pytest.fixture(scope="module")
def server(flow: Path) -> Iterator[Server]:
    with started(flow, flow.with_suffix(".log")) as one:
        yield one


def test_it_says_what_it_serves(server: Server) -> None:
    assert server.said["type"] == "serving"
    assert server.said["inputs"]["number"] == {"type": "int", "default": 1}


def test_it_answers(server: Server) -> None:
    assert server.score(text="ä", number="2") == (200, {"label": "ä", "number": 2})
    assert server.ask("GET", "/health") == (200, {"status": "Healthy"})
    status, version = server.ask("GET", "/version")
    assert (status, version["framework"], version["deployment"]) == (200, "callable", "blue")
    assert server.ask("GET", "/swagger.json")[1]["info"]["title"] == "blue"


@pytest.mark.parametrize("path", ["/score", "/health", "/version", "/swagger.json", "/else"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", "ä"])
def test_without_the_token_nothing_is_answered(server: Server, path: str, token: str | None) -> None:
    assert server.ask("POST", path, {"text": "a"}, token)[0] == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'{"text": Infinity}', b"[" * 200_000])
def test_bad_bodies_are_400(server: Server, body: bytes) -> None:
    status, answer = server.ask("POST", "/score", body)
    assert (status, answer["error"]["code"]) == (400, "BadJson")


def test_bad_inputs_are_400(server: Server) -> None:
    assert server.score()[1]["error"] == {"code": "MissingInput", "message": "missing input: text"}
    assert server.score(text="a", number="many")[1]["error"]["code"] == "BadInput"


@pytest.mark.parametrize(
    ("do", "code", "message"),
    [
        ("raise", "Raised", "ValueError: first second"),
        ("exit", "Raised", "SystemExit: enough"),
        ("nan", "BadOutput", "the output is not a JSON value"),
        ("set", "BadOutput", "the output is not a JSON value"),
    ],
)
def test_what_user_code_does_wrong_is_500_and_the_next_request_works(
    server: Server, do: str, code: str, message: str
) -> None:
    status, answer = server.score(text="a", do=do)
    assert (status, answer["error"]["code"]) == (500, code)
    assert message in answer["error"]["message"]
    assert server.score(text="a")[0] == 200


def test_failures_are_logged_with_their_place(server: Server, flow: Path) -> None:
    server.score(text="a", do="raise")
    assert "(app.py:7)" in flow.with_suffix(".log").read_text()


def test_user_code_is_kept_off_the_pipes(server: Server) -> None:
    assert server.score(text="a", do="stdin") == (200, {"label": ""})
    open_files = server.score(text="a", do="pipes")[1]["label"]
    assert set(open_files) <= {"0", "1", "2", "3"}  # 3: the listing itself


def test_unknown_paths_and_methods(server: Server) -> None:
    assert server.ask("GET", "/score")[0] == 405
    assert server.ask("GET", "/else")[0] == 404


def test_requests_wait_beyond_the_concurrency(flow: Path, tmp_path: Path) -> None:
    with started(flow, tmp_path / "log", concurrency=2) as server:
        begin = time.monotonic()
        threads = [threading.Thread(target=server.score, kwargs={"text": "a", "do": "sleep"}) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1.0 <= time.monotonic() - begin < 2.0


def test_at_the_end_of_the_pipe_it_finishes_its_requests_and_exits(flow: Path, tmp_path: Path) -> None:
    answers: list[tuple[int, Any]] = []
    with started(flow, tmp_path / "log") as server:
        threads = [
            threading.Thread(target=lambda: answers.append(server.score(text="a", do="sleep"))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        server.pipe.close()
        assert server.process.wait(timeout=5) == 0
        for thread in threads:
            thread.join()
    assert [status for status, _ in answers] == [200] * 3


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"protocol": 2}, "Protocol"),
        ({"type": "row"}, "Protocol"),
        ({"token": ""}, "Protocol"),
        ({"flow": "/nowhere"}, "NoFlow"),
        ({"variant": "${a.b}"}, "Unsupported"),
    ],
)
def test_what_it_cannot_open_it_says_and_exits(flow: Path, tmp_path: Path, fields: dict[str, Any], code: str) -> None:
    with started(flow, tmp_path / "log", **fields) as server:
        assert (server.said["type"], server.said["code"]) == ("failed", code)
        assert server.process.wait(timeout=5) == 1


def test_a_flow_that_raises_on_import_says_where(tmp_path: Path) -> None:
    (tmp_path / "callable.toml").write_text('entry = "app:answer"\n')
    (tmp_path / "app.py").write_text("\nimport nothing_of_that_name\n")
    with started(tmp_path, tmp_path / "log") as server:
        assert server.said["where"] == "app.py:2"
