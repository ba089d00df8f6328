"""What goes over the wire, both ways, between a prompt flow, the proxy and providers of each kind."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import aiohttp
import pytest
from loopback_provider import CHAT, KEY, ask, cut, error, no_sleep, provider, reply, run, stream

from orchestration.errors import ConfigurationError, PlatformUnavailable
from orchestration.model_proxy import Ceiling, ModelProxy, Prices, Upstream, Usage


def openai(url: str, **keywords) -> Upstream:
    return Upstream("openai", f"{url}/v1", **({"api_key": KEY} | keywords))


def azure(url: str, **keywords) -> Upstream:
    return Upstream("azure_openai", url, **({"api_key": KEY, "deployment": "gpt-real"} | keywords))


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/deployments/asked/chat/completions?api-version=1"])
def test_openai_gets_its_key_and_model(path: str) -> None:
    async def test() -> None:
        async with provider() as there, ModelProxy({"c": openai(there.url, deployment="gpt-real")}) as proxy:
            got = await ask(proxy, path)
        assert (got.status, json.loads(got.body)) == (200, CHAT)
        [seen] = there.seen
        assert (seen.path, seen.query) == ("/v1/chat/completions", {})
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert "api-key" not in seen.headers
        assert seen.json == {"model": "gpt-real", "messages": []}

    run(test())


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/openai/deployments/asked/chat/completions?api-version=1"])
def test_azure_gets_its_key_deployment_and_version(path: str) -> None:
    async def test() -> None:
        async with provider() as there, ModelProxy({"c": azure(there.url, api_version="2025-01-01")}) as proxy:
            got = await ask(proxy, path)
        assert got.status == 200
        [seen] = there.seen
        assert seen.path == "/openai/deployments/gpt-real/chat/completions"
        assert seen.query == {"api-version": "2025-01-01"}
        assert seen.headers["api-key"] == KEY
        assert "authorization" not in seen.headers

    run(test())


def test_a_server_without_keys_gets_none() -> None:
    async def test() -> None:
        async with provider() as there, ModelProxy({"c": Upstream("openai", there.url)}) as proxy:
            await ask(proxy, "/openai/deployments/llama3/chat/completions")
            await ask(proxy, "/v1/embeddings", json={"model": "nomic", "input": "x"})
        first, second = there.seen
        assert (first.path, first.json["model"]) == ("/v1/chat/completions", "llama3")
        assert (second.path, second.json) == ("/v1/embeddings", {"model": "nomic", "input": "x"})
        assert not {"authorization", "api-key"} & first.headers.keys()

    run(test())


def test_tokens_of_an_identity_take_the_key_s_place() -> None:
    async def authorize() -> dict[str, str]:
        return {"Authorization": "Bearer entra"}

    async def refuse() -> dict[str, str]:
        raise PlatformUnavailable("The identity has no token.")

    async def test() -> None:
        async with provider() as there:
            good = azure(there.url, api_key=None, authorize=authorize)
            async with ModelProxy({"c": good, "d": replace(good, authorize=refuse)}) as proxy:
                await ask(proxy)
                refused = await ask(proxy, name="d")
        [seen] = there.seen
        assert seen.headers["authorization"] == "Bearer entra"
        assert refused.status == 424
        assert "no token" in refused.error["message"]

    run(test())


def test_other_methods_headers_and_bodies_pass() -> None:
    async def test() -> None:
        async def image(request):
            return aiohttp.web.Response(
                body=b"\x00\xff" * 5000, content_type="image/png", headers={"x-request-id": "7"}
            )

        async with provider(image) as there, ModelProxy({"c": openai(there.url)}) as proxy:
            async with aiohttp.ClientSession() as session, session.get(proxy.urls["c"] + "/v1/files/1?a=b") as response:
                assert await response.read() == b"\x00\xff" * 5000
                assert response.headers["x-request-id"] == "7"
            await ask(proxy, headers={"OpenAI-Organization": "org", "Cookie": "a=b"})
        first, second = there.seen
        assert (first.method, first.path, first.query, first.body) == ("GET", "/v1/files/1", {"a": "b"}, b"")
        assert second.headers["openai-organization"] == "org"
        assert "cookie" not in second.headers

    run(test())


def test_large_bodies_pass() -> None:
    async def test() -> None:
        content = "x" * 5_000_000
        async with provider() as there, ModelProxy({"c": openai(there.url)}) as proxy:
            got = await ask(proxy, json={"model": "m", "messages": [content]})
        assert got.status == 200
        assert there.seen[0].json["messages"] == [content]

    run(test())


def test_only_the_secret_address_answers() -> None:
    async def test() -> None:
        async with provider() as there, ModelProxy({"c": openai(there.url)}) as proxy:
            root, _, name = proxy.urls["c"].rpartition("/")
            host = root.rpartition("/")[0]
            wrong = [f"{host}/guess/{name}/v1/models", f"{host}/", f"{root}/other/v1/models", f"{host}/%E9/c/v1/models"]
            async with aiohttp.ClientSession() as session:
                for url in wrong:
                    async with session.get(url) as response:
                        assert response.status == 404, url
        assert there.seen == []
        assert proxy.total == Usage()

    run(test())


def test_names_of_connections_may_hold_anything() -> None:
    async def test() -> None:
        async with provider() as there, ModelProxy({"my / connection é?": openai(there.url)}) as proxy:
            assert (await ask(proxy, name="my / connection é?")).status == 200

    run(test())


EVENTS = [
    b'data: {"choices":[{"delta":{"content":"h"}}],"usage":null}\n\n',
    b'data: {"choices":[{"delta":{"content":"i"}}],"usage":null}\n\ndata: {"choices":[],"us',
    b'age":{"prompt_tokens":7,"completion_tokens":2}}\n\ndata: [DONE]\n\n',
]


def test_streams_pass_as_they_come_and_are_counted() -> None:
    async def test() -> None:
        go_on = asyncio.Event()
        async with provider(stream(*EVENTS, after=go_on)) as there, ModelProxy({"c": openai(there.url)}) as proxy:
            url = proxy.urls["c"] + "/v1/chat/completions"
            async with aiohttp.ClientSession() as session, session.post(url, json={"stream": True}) as response:
                assert response.content_type == "text/event-stream"
                first = await response.content.readuntil(b"\n\n")
                assert first == EVENTS[0]
                go_on.set()
                assert first + await response.content.read() == b"".join(EVENTS)
            assert (proxy.total.prompt_tokens, proxy.total.completion_tokens) == (7, 2)

    run(test())


def test_a_broken_stream_breaks_for_the_client_too() -> None:
    async def test() -> None:
        async with provider(stream(*EVENTS, broken=True)) as there, ModelProxy({"c": openai(there.url)}) as proxy:
            with pytest.raises(aiohttp.ClientError):
                await ask(proxy)
            assert len(there.seen) == 1

    run(test())


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
def test_failures_are_repeated(status: int) -> None:
    async def test() -> None:
        async with (
            provider(error(status), error(status)) as there,
            ModelProxy({"c": openai(there.url)}, sleep=no_sleep) as proxy,
        ):
            got = await ask(proxy)
            assert got.status == 200
            assert len(there.seen) == 3
            assert there.seen[0].body == there.seen[2].body
            assert (proxy.total.requests, proxy.total.retries, proxy.total.rate_limited) == (1, 2, 0)

    run(test())


def test_lost_connections_are_repeated() -> None:
    async def test() -> None:
        async with provider(cut, cut) as there, ModelProxy({"c": openai(there.url)}, sleep=no_sleep) as proxy:
            assert (await ask(proxy)).status == 200
            assert proxy.total.retries == 2

    run(test())


def test_rate_limits_are_waited_for() -> None:
    async def test() -> None:
        async with (
            provider(error(429, retry_after_ms="1"), error(429, retry_after_ms="1")) as there,
            ModelProxy({"c": openai(there.url, requests_per_minute=60_000)}) as proxy,
        ):
            assert (await ask(proxy)).status == 200
            assert len(there.seen) == 3
            assert (proxy.total.retries, proxy.total.rate_limited) == (2, 2)

    run(test())


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_other_errors_pass_at_once(status: int) -> None:
    async def test() -> None:
        async with provider(error(status)) as there, ModelProxy({"c": openai(there.url)}) as proxy:
            got = await ask(proxy)
        assert got.status == status
        assert got.error["code"] == "x"
        assert got.headers["x-should-retry"] == "false"
        assert len(there.seen) == 1

    run(test())


def test_an_exhausted_quota_is_no_rate_limit() -> None:
    async def test() -> None:
        async def broke(_):
            return reply(429, {"error": {"type": "insufficient_quota", "code": "insufficient_quota"}})

        async with provider(broke) as there, ModelProxy({"c": openai(there.url)}) as proxy:
            got = await ask(proxy)
        assert (got.status, got.error["code"], len(there.seen)) == (429, "insufficient_quota", 1)

    run(test())


def test_a_failing_provider_ends_in_one_answer_that_nobody_repeats() -> None:
    async def test() -> None:
        async with (
            provider(error(503)) as there,
            ModelProxy({"c": openai(there.url)}, retry_deadline_seconds=0) as proxy,
        ):
            got = await ask(proxy)
        assert (got.status, got.error["code"]) == (424, "sluice_upstream_failed")
        assert "answered 503" in got.error["message"]
        assert got.headers["x-should-retry"] == "false"

    run(test())


def test_a_provider_that_is_not_there() -> None:
    async def test() -> None:
        async with provider() as gone:
            url = gone.url
        async with ModelProxy({"c": openai(url)}, retry_deadline_seconds=0) as proxy:
            got = await ask(proxy)
        assert (got.status, got.error["code"]) == (424, "sluice_upstream_failed")
        assert "can't be reached" in got.error["message"]

    run(test())


def test_the_limit_deadline() -> None:
    async def test() -> None:
        async with (
            provider(error(429, retry_after="30")) as there,
            ModelProxy({"c": openai(there.url)}, limit_deadline_seconds=5) as proxy,
        ):
            got = await ask(proxy)
        assert (got.status, got.error["code"]) == (429, "sluice_limit_deadline")
        assert "sluice_limit_deadline" in got.error["message"]
        assert got.error["type"] == "insufficient_quota"
        assert got.headers["x-should-retry"] == "false"
        assert "retry-after" not in got.headers

    run(test())


def test_the_limit_deadline_of_a_request_that_waits_its_turn() -> None:
    async def test() -> None:
        async with provider() as there:
            slow = openai(there.url, requests_per_minute=1)
            async with ModelProxy({"c": slow}, limit_deadline_seconds=0.05) as proxy:
                first, second = await asyncio.gather(ask(proxy), ask(proxy))
        assert sorted([first.status, second.status]) == [200, 429]
        assert len(there.seen) == 1

    run(test())


def test_a_client_that_leaves_frees_its_place() -> None:
    async def test() -> None:
        arrived, never = asyncio.Event(), asyncio.Event()

        async def hang(_):
            arrived.set()
            await never.wait()
            return reply()

        async with provider(hang) as there, ModelProxy({"c": openai(there.url)}) as proxy:
            leaving = asyncio.create_task(ask(proxy))
            await asyncio.wait_for(arrived.wait(), 5)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)
            assert (await ask(proxy)).status == 200
            assert proxy.total.retries == 0

    run(test())


def test_two_connections_to_one_model_share_its_limit() -> None:
    async def test() -> None:
        async with provider() as there:
            upstream = openai(there.url, deployment="gpt", requests_per_minute=1)
            both = {"a": upstream, "b": upstream}
            async with ModelProxy(both, limit_deadline_seconds=0.05) as proxy:
                answers = [await ask(proxy, name="a"), await ask(proxy, name="b")]
        assert [answer.status for answer in answers] == [200, 429]

    run(test())


def test_usage_by_connection_and_in_total() -> None:
    async def test() -> None:
        async with provider() as there:
            upstreams = {"c": openai(there.url, prices=Prices(1e6, 2e6)), "d": openai(there.url)}
            async with ModelProxy(upstreams) as proxy:
                await ask(proxy)
                await ask(proxy, name="d")
        assert proxy.usage["c"] == Usage(requests=1, prompt_tokens=10, completion_tokens=5, price=20.0)
        assert proxy.usage["d"] == Usage(requests=1, prompt_tokens=10, completion_tokens=5)
        assert proxy.total == Usage(requests=2, prompt_tokens=20, completion_tokens=10, price=20.0)

    run(test())


@pytest.mark.parametrize("ceiling", [Ceiling(max_tokens=25), Ceiling(max_price=25.0)])
def test_the_ceiling_ends_it(ceiling: Ceiling) -> None:
    async def test() -> None:
        async with provider() as there:
            upstream = openai(there.url, prices=Prices(1e6, 1e6))
            async with ModelProxy({"c": upstream}, ceiling=ceiling) as proxy:
                assert (await ask(proxy)).status == 200
                assert not proxy.ceiling_reached.is_set()
                assert (await ask(proxy)).status == 200
                await asyncio.wait_for(proxy.ceiling_reached.wait(), 1)
                got = await ask(proxy)
        assert (got.status, got.error["code"]) == (403, "sluice_ceiling")
        assert len(there.seen) == 2

    run(test())


def test_the_ceiling_holds_for_those_that_wait() -> None:
    async def test() -> None:
        async with (
            provider(error(429, retry_after_ms="50")) as there,
            ModelProxy({"c": openai(there.url, requests_per_minute=60_000)}, ceiling=Ceiling(max_tokens=1)) as proxy,
        ):
            answers = await asyncio.gather(ask(proxy), ask(proxy), ask(proxy))
        assert max(answer.status for answer in answers) == 403
        assert proxy.total.requests == 3

    run(test())


def test_a_ceiling_on_the_price_needs_prices() -> None:
    with pytest.raises(ConfigurationError, match="c has none"):
        ModelProxy({"c": Upstream("openai", "http://localhost")}, ceiling=Ceiling(max_price=1))
    ModelProxy({"c": Upstream("offline")}, ceiling=Ceiling(max_price=1))


def test_the_key_stays_inside(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        script = [error(400), error(500), error(503), cut]
        async with provider(*script) as there:
            upstream = openai(there.url)
            async with ModelProxy({"c": upstream}, retry_deadline_seconds=0) as proxy:
                answers = [await ask(proxy) for _ in script]
                shown = [repr(proxy), repr(upstream), str(proxy.urls), repr(vars(proxy)["_upstreams"])]
        assert there.seen[0].headers["authorization"].endswith(KEY)
        for answer in answers:
            assert KEY.encode() not in answer.body
        assert KEY not in "".join(shown)

    caplog.set_level(logging.DEBUG)
    run(test())
    assert KEY not in caplog.text


def test_nothing_listens_afterwards() -> None:
    async def test() -> None:
        async with provider() as there, ModelProxy({"c": openai(there.url)}) as proxy:
            pass
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(proxy)

    run(test())
