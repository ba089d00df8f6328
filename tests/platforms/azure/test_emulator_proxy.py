"""The proxy: TLS for every host, a closed world, streams to other servers, faults on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection

import httpx
import pytest
import requests
from azure_clients import WORKSPACE, bearer
from azure_emulator import Cloud
from azure_emulator.wire import Request, Response


def test_a_host_that_nobody_serves_is_refused_and_listed(cloud: Cloud) -> None:
    for address in ("https://settings.sdk.monitor.azure.com/x", "https://xmanagement.azure.com/"):
        with pytest.raises(requests.exceptions.ProxyError, match="502"):
            requests.get(address, timeout=10)
    assert requests.get("http://example.org/x", timeout=10).status_code == 502
    assert cloud.refused == ["settings.sdk.monitor.azure.com", "xmanagement.azure.com", "example.org"]
    cloud.refused.clear()


def test_a_request_that_nobody_understands_is_not_implemented_and_listed(cloud: Cloud) -> None:
    address = f"https://management.azure.com{WORKSPACE}/batchEndpoints/b?api-version=2024-04-01"
    assert requests.get(address, headers=bearer(cloud), timeout=10).status_code == 501
    assert cloud.unknown == [f"GET {address}"]
    cloud.unknown.clear()


def test_a_handler_that_crashes_is_listed_with_its_traceback(cloud: Cloud) -> None:
    async def crash(request: Request) -> Response:
        raise KeyError("bug")

    cloud.route(r"scores\.example", crash)
    assert requests.get("https://scores.example/", timeout=10).status_code == 500
    assert "KeyError: 'bug'" in cloud.crashes.pop()


def test_only_the_cloud_with_its_own_authority_is_trusted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE")
    with pytest.raises(requests.exceptions.SSLError):
        requests.get("https://management.azure.com/", timeout=10)


def test_requests_and_httpx_reach_a_handler_with_all_they_sent(cloud: Cloud) -> None:
    seen: list[Request] = []

    async def echo(request: Request) -> Response:
        seen.append(request)
        return Response(200, {"length": len(request.body)}, {"X-More": "1"})

    cloud.route(r".+\.inference\.ml\.azure\.com", echo, kind="score")
    address = "https://e.westeurope.inference.ml.azure.com/a%20b/score?x=1%2F2"
    pieces = (b"abc", b"", b"d" * 200_000)
    for client in (requests, httpx):
        answer = client.post(address, json={"q": 1}, headers={"X-Mixed-Case": "As It Is"}, timeout=10)
        assert (answer.json(), answer.headers["x-more"]) == ({"length": len(seen[-1].body)}, "1")
    assert [each.json() for each in seen] == [{"q": 1}, {"q": 1}]
    assert requests.post(address, data=iter(pieces[::2]), timeout=10).json() == {"length": 200_003}
    assert (seen[0].path, seen[0].query, seen[0].method) == ("/a b/score", {"x": "1/2"}, "POST")
    assert seen[0].headers["x-mixed-case"] == seen[1].headers["x-mixed-case"] == "As It Is"
    assert {each.url for each in seen} == {address}


def test_one_connection_serves_many_requests(cloud: Cloud) -> None:
    async def count(request: Request) -> Response:
        return Response(204) if request.method == "DELETE" else Response(200, {"path": request.path})

    cloud.route(r"many\.example", count)
    connection = HTTPSConnection("127.0.0.1", cloud.port, context=ssl.create_default_context(cafile=cloud.ca_file))
    connection.set_tunnel("many.example")
    connection.connect()
    connection.auto_open = 0  # it may not come back by itself
    for number in range(3):
        for method, body in (("GET", f'{{"path": "/{number}"}}'), ("DELETE", ""), ("HEAD", "")):
            connection.request(method, f"/{number}")
            assert connection.getresponse().read().decode() == body
    connection.close()
    assert len(cloud.exchanges) == 9


EVERY_CLIENT = """
import asyncio, sys, urllib.request
import aiohttp, httpx, requests

async def by_aiohttp(address):
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(address) as answer:
        return answer.status

address = sys.argv[1]
print(urllib.request.urlopen(address).status, requests.get(address).status_code, httpx.get(address).status_code)
print(asyncio.run(by_aiohttp(address)))
"""


def test_the_variables_alone_lead_every_client_of_another_process_here(cloud: Cloud) -> None:
    address = f"https://login.microsoftonline.com/{cloud.directory.tenant}/v2.0/.well-known/openid-configuration"
    command = [sys.executable, "-c", EVERY_CLIENT, address]
    done = subprocess.run(command, env=cloud.environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["200"] * 4, done.stderr
    assert len(cloud.exchanges) == 4


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01", b"GET\r\n\r\n", b"CONNECT x", b"a" * 600_000, b"PUT http://x/ HTTP/1.1\r\n"]
)
def test_what_is_no_http_ends_only_its_own_connection(cloud: Cloud, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", cloud.port)) as client, contextlib.suppress(OSError):
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096):
            pass
    cloud.refused.clear()
    assert requests.get("https://management.azure.com/", timeout=10).status_code == 401


def test_a_cloud_ends_though_a_handler_does_not(cloud: Cloud) -> None:
    arrived = threading.Event()

    async def hang(request: Request) -> Response:
        arrived.set()
        await asyncio.sleep(3600)
        return Response()

    other = Cloud()
    other.route(r"slow\.example", hang)
    other.start()
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(httpx.get, "https://slow.example/", proxy=f"http://127.0.0.1:{other.port}", verify=False)
        assert arrived.wait(10)
        other.stop()
        assert isinstance(sent.exception(10), httpx.HTTPError)
