"""A prompt flow of promptflow's as a server: the answers of its rows, without the tracing that counts tokens."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import promptflow_flows as flows
import pytest
from fake_model import fake_model
from runner_fixture import RUNTIME

pytestmark = pytest.mark.real


def score(port, text):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/score", json.dumps({"text": text}), {"x-sluice-token": "t"})
    answer = connection.getresponse()
    said = answer.status, json.loads(answer.read())
    connection.close()
    return said


@pytest.fixture
def port(promptflow_python, tmp_path):
    flow = flows.write(tmp_path / "flow", flows.CLASSIFY)
    (their_read, our_write), (our_read, their_write) = os.pipe(), os.pipe()
    with fake_model() as model, os.fdopen(our_write, "wb", 0) as pipe, os.fdopen(our_read, "rb") as answers:
        process = subprocess.Popen(
            [promptflow_python, "-m", "sluice_runner", "serve", "--in", str(their_read), "--out", str(their_write)],
            pass_fds=(their_read, their_write),
            env={"PYTHONPATH": str(RUNTIME), "PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        )
        os.close(their_read)
        os.close(their_write)
        opening = {"type": "open", "protocol": 1, "flow": str(flow), "variant": None, "overrides": {}, "trace": False}
        opening |= {"connections": {"aoai": model.connection}, "token": "t", "name": "blue"}
        pipe.write(json.dumps(opening).encode() + b"\n")
        yield json.loads(answers.readline())["port"]
        pipe.close()
        assert process.wait(20) == 0


def test_requests_at_once_are_answered_as_rows_are(port):
    texts = ["cold", "warm", "bad", "ice"] * 4
    with ThreadPoolExecutor(len(texts)) as pool:
        said = list(pool.map(lambda text: score(port, text), texts))
    for text, (status, answer) in zip(texts, said, strict=True):
        if text == "bad":
            assert (status, answer["error"]["code"]) == (500, "Raised")
        else:
            assert (status, answer["label"], answer["length"]) == (200, text.upper(), len(text))
