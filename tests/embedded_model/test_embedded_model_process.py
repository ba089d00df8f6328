"""`python -m orchestration.embedded_model` as a process of its own."""

import json
import subprocess
import sys
from contextlib import contextmanager
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from orchestration.embedded_model.__main__ import main

MODULE = [sys.executable, "-m", "orchestration.embedded_model"]


@contextmanager
def started(*arguments):
    process = subprocess.Popen([*MODULE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def ask(url):
    body = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()
    with build_opener(ProxyHandler({})).open(Request(f"{url}/v1/chat/completions", body), timeout=10) as answer:
        return dict(answer.headers), json.load(answer)


@pytest.mark.real
def test_it_prints_its_address_takes_its_options_and_ends_on_a_signal():
    with started("--requests-per-minute", "6000", "--limit-change", "0.5@20", "--latency", "0.01") as (process, url):
        headers, answer = ask(url)
        assert headers["x-ratelimit-limit-requests"] == "6000"
        assert "keyword baseline" in answer["choices"][0]["message"]["content"]
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.real
def test_it_ends_with_its_parent():
    with started("--until-eof") as (process, url):
        ask(url)
        process.stdin.close()
        assert process.wait(10) == 0


@pytest.mark.real
def test_a_taken_port_is_said_in_one_line():
    with started() as (_, url):
        port = url.rpartition(":")[2]
        second = subprocess.run([*MODULE, "--port", port], capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert f"port {port}" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_wrong_options_are_said_in_one_line(capsys):
    assert main(["--limit-change", "half"]) == 64
    assert main(["--latency", "-1"]) == 64
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "0.5@20" in lines[0]
