"""Keys, rates and prices that change while the proxy serves."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web
from loopback_provider import CHAT, KEY, ask, error, no_sleep, provider, reply, run

from orchestration.model_proxy import ModelProxy, Prices, Upstream

NEW = "sk-rotated-key"


def upstream(url: str, **more) -> Upstream:
    return Upstream("openai", f"{url}/v1", **({"api_key": KEY} | more))


def keys(there) -> list[str]:
    return [seen.headers["authorization"].removeprefix("Bearer ") for seen in there.seen]


def test_a_request_under_way_ends_as_it_began_and_the_next_has_the_new_key() -> None:
    async def test() -> None:
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slow(_: web.BaseRequest) -> web.StreamResponse:
            arrived.set()
            await go_on.wait()
            return reply()

        async with provider(slow) as there, ModelProxy({"c": upstream(there.url)}) as proxy:
            first = asyncio.create_task(ask(proxy))
            await arrived.wait()
            urls = dict(proxy.urls)
            proxy.swap({"c": upstream(there.url, api_key=NEW)})
            assert (await ask(proxy)).status == 200
            go_on.set()
            assert (await first).status == 200
        assert keys(there) == [KEY, NEW]
        assert proxy.urls == urls

    run(test())


def test_what_is_repeated_is_repeated_with_the_new_key() -> None:
    async def test() -> None:
        async def changing(_: float) -> None:
            proxy.swap({"c": upstream(there.url, api_key=NEW)})

        async with provider(error(500)) as there, ModelProxy({"c": upstream(there.url)}, sleep=changing) as proxy:
            assert (await ask(proxy)).status == 200
        assert keys(there) == [KEY, NEW]

    run(test())


def test_what_waits_for_its_turn_goes_out_with_the_new_key() -> None:
    async def test() -> None:
        arrived = asyncio.Event()

        async def first(_: web.BaseRequest) -> web.StreamResponse:
            arrived.set()
            return reply()

        async with provider(first) as there:
            async with ModelProxy({"c": upstream(there.url, requests_per_minute=60)}) as proxy:
                asked = [asyncio.create_task(ask(proxy)) for _ in range(3)]
                await arrived.wait()
                proxy.swap({"c": upstream(there.url, api_key=NEW)})
                assert [(await each).status for each in asked] == [200, 200, 200]
            assert keys(there)[-1] == NEW

    run(test())


def test_a_provider_that_repeats_the_old_key_is_still_cleaned() -> None:
    async def test() -> None:
        async def late(request: web.BaseRequest) -> web.StreamResponse:
            proxy.swap({"c": upstream(there.url, api_key=NEW)})
            return await error(401)(request)

        async with provider(late) as there, ModelProxy({"c": upstream(there.url)}, sleep=no_sleep) as proxy:
            got = await ask(proxy)
        assert got.status == 401
        assert KEY.encode() not in got.body

    run(test())


def test_new_prices_count_from_then_on() -> None:
    async def test() -> None:
        async with provider() as there:
            cheap = upstream(there.url, prices=Prices(1e6, 0))
            async with ModelProxy({"c": cheap}) as proxy:
                await ask(proxy)
                proxy.swap({"c": replace(cheap, prices=Prices(2e6, 0))})
                await ask(proxy)
                assert proxy.total.price == 3 * CHAT["usage"]["prompt_tokens"]

    run(test())


def test_a_new_key_has_limits_of_its_own() -> None:
    async def test() -> None:
        async with provider() as there:
            slow = upstream(there.url, requests_per_minute=6)
            async with ModelProxy({"c": slow}, limit_deadline_seconds=1) as proxy:
                assert (await ask(proxy)).status == 200
                assert (await ask(proxy)).status == 429
                proxy.swap({"c": replace(slow, api_key=NEW)})
                assert (await ask(proxy)).status == 200

    run(test())


def test_the_embedded_model_stays_where_it_is() -> None:
    async def test() -> None:
        async with ModelProxy({"c": Upstream("offline")}) as proxy:
            proxy.swap({"c": Upstream("offline", requests_per_minute=1000)})
            assert (await ask(proxy, json={"model": "m", "messages": [{"role": "user", "content": "x"}]})).status == 200

    run(test())


@pytest.mark.parametrize(
    "change",
    [
        lambda url: {},
        lambda url: {"d": upstream(url)},
        lambda url: {"c": upstream(url), "d": upstream(url)},
        lambda url: {"c": upstream("http://127.0.0.1:9")},
        lambda url: {"c": upstream(url, deployment="other")},
        lambda url: {"c": Upstream("offline")},
    ],
)
def test_nothing_else_can_change(change) -> None:
    async def test() -> None:
        async with provider() as there, ModelProxy({"c": upstream(there.url)}) as proxy:
            with pytest.raises(ValueError, match="only keys"):
                proxy.swap(change(there.url))
            await ask(proxy)
        assert keys(there) == [KEY]

    run(test())
