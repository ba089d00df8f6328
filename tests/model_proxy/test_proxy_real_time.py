"""The proxy against the embedded model with limits, in real time: what the simulation promises must hold here too."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from orchestration.embedded_model import EmbeddedModelOptions, embedded_model
from orchestration.model_proxy import ModelProxy, Upstream

pytestmark = pytest.mark.real

BODY = {"model": "m", "messages": [{"role": "user", "content": "Alice works at Contoso. " * 20}], "max_tokens": 40}


async def flow(proxy: ModelProxy, rows: int, in_flight: int) -> float:
    """Run that many rows, the first ones 8 ms apart as prompt flows do; seconds from the start to the last answer."""
    url, waiting = proxy.urls["c"] + "/v1/chat/completions", iter(range(rows))
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def work(number: int) -> None:
            await asyncio.sleep(number * 0.008)
            for _ in waiting:
                async with session.post(url, json=BODY) as response:
                    assert response.status == 200, await response.text()
                    await response.read()

        start = loop.time()
        await asyncio.gather(*(work(number) for number in range(in_flight)))
        return loop.time() - start


@pytest.mark.parametrize(
    ("hints", "share", "refused"), [("yes", 0.5, 0.2), ("retry-after", 0.5, 0.2), ("none", 0.5, 0.2)]
)
def test_a_limit_in_real_time(hints: str, share: float, refused: float) -> None:
    """That the proxy paces at all, and loses nothing: other work on the machine delays what it hears. The goals are
    tested in virtual time, and measured in benchmarks/rate_limit.py.
    """
    rows, limit, latency = 300, 3000.0, 0.2

    async def test() -> None:
        options = EmbeddedModelOptions(latency_seconds=latency, requests_per_minute=limit, rate_headers=hints)
        async with embedded_model(options) as model, ModelProxy({"c": Upstream("openai", model.url)}) as proxy:
            took = await flow(proxy, rows, 64)
            assert rows * 60 / limit / (took - latency) >= share
            assert proxy.total.rate_limited / (rows + proxy.total.rate_limited) < refused
            assert proxy.total.requests == rows

    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_offline_model_is_started_and_ended() -> None:
    async def test() -> None:
        async with ModelProxy({"c": Upstream("offline", deployment="anything")}) as proxy:
            url = proxy.urls["c"] + "/openai/deployments/gpt/chat/completions?api-version=2024-02-01"
            async with aiohttp.ClientSession() as session, session.post(url, json=BODY) as response:
                answer = json.loads(await response.read())
        assert response.status == 200
        assert answer["choices"][0]["message"]["role"] == "assistant"
        assert proxy.total.prompt_tokens == answer["usage"]["prompt_tokens"]

    asyncio.run(asyncio.wait_for(test(), 30))
