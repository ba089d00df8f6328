"""The embedded model over real HTTP."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.embedded_model import EmbeddedModelOptions, embedded_model

OPENAI = "/v1/chat/completions"
AZURE = "/openai/deployments/{}/chat/completions"
SUMMARISE = [{"role": "user", "content": "Summarize in one sentence:\n\nThe ferry leaves at nine. It is red."}]


@asynccontextmanager
async def running(*, now=None, sleep=None, **options):
    times = {name: value for name, value in (("now", now), ("sleep", sleep)) if value}
    async with (
        embedded_model(EmbeddedModelOptions(**options), **times) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        yield server, session


async def post(session, body, path=OPENAI):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with session.post(path, data=data) as answer:
        return answer.status, dict(answer.headers), await answer.json()


async def stats(session):
    async with session.get("/stats") as answer:
        return await answer.json()


def test_both_paths_give_the_same_answer_whatever_the_deployment_is_called():
    async def ask():
        async with running() as (_, session):
            paths = [OPENAI, AZURE.format("gpt-4o-mini"), AZURE.format("classify-entities")]
            return [(await post(session, {"messages": SUMMARISE}, path))[2]["choices"] for path in paths]

    first, *others = asyncio.run(ask())
    assert first[0]["message"]["content"] == "The ferry leaves at nine."
    assert others == [first, first]


def test_it_says_what_it_is():
    async def ask():
        async with running() as (_, session), session.get("/v1/models") as models:
            return await models.json(), (await post(session, {"messages": SUMMARISE}))[2]

    models, answer = asyncio.run(ask())
    assert "Not a language model" in models["data"][0]["description"]
    assert answer["model"] == models["data"][0]["id"] == "sluice-keyword-baseline"
    assert "keyword-baseline" in answer["system_fingerprint"]


def test_every_answer_counts_tokens_and_the_statistics_add_them_up():
    async def ask():
        async with running() as (_, session):
            answers = [(await post(session, {"messages": SUMMARISE}))[2] for _ in range(3)]
            return answers, await stats(session)

    answers, seen = asyncio.run(ask())
    usage = answers[0]["usage"]
    assert usage["prompt_tokens"] > 10
    assert usage["completion_tokens"] > 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert [a["usage"] for a in answers] == [usage] * 3
    assert (seen["requests"], seen["answered"]) == (3, 3)
    assert seen["prompt_tokens"] == 3 * usage["prompt_tokens"]
    assert seen["first_request"] <= seen["last_request"] <= seen["last_answer"]


def test_a_reply_is_cut_at_max_tokens():
    async def ask(limit):
        async with running() as (_, session):
            return (await post(session, {"messages": SUMMARISE, **limit}))[2]

    for name in ("max_tokens", "max_completion_tokens"):
        answer = asyncio.run(ask({name: 2}))
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["choices"][0]["message"]["content"] == "The ferr"
        assert answer["usage"]["completion_tokens"] == 2


def test_a_stream_carries_the_same_text_and_the_usage_that_was_asked_for():
    async def ask():
        body = {"messages": SUMMARISE, "stream": True, "stream_options": {"include_usage": True}}
        async with running() as (_, session):
            whole = (await post(session, {"messages": SUMMARISE}))[2]
            async with session.post(OPENAI, json=body) as answer:
                assert answer.content_type == "text/event-stream"
                return whole, (await answer.text()).strip().split("\n\n")

    whole, events = asyncio.run(ask())
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    deltas = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1]]
    assert "".join(deltas) == whole["choices"][0]["message"]["content"]
    assert len(deltas) > 3
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]


def test_latency_stays_within_the_jitter_and_the_seed_repeats_it():
    async def ask(seed):
        waits = []

        async def sleep(seconds):
            waits.append(seconds)

        async with running(sleep=sleep, latency_seconds=0.5, jitter_seconds=0.15, seed=seed) as (_, session):
            for _ in range(20):
                await post(session, {"messages": SUMMARISE})
        return waits

    waits = asyncio.run(ask(7))
    assert all(0.35 <= wait <= 0.65 for wait in waits)
    assert len(set(waits)) == 20
    assert asyncio.run(ask(7)) == waits
    assert asyncio.run(ask(8)) != waits


def test_requests_run_side_by_side_and_the_peak_is_counted():
    async def ask():
        gate, waiting = asyncio.Event(), asyncio.Semaphore(0)

        async def sleep(_):
            waiting.release()
            await gate.wait()

        async with running(sleep=sleep, latency_seconds=1) as (server, session):
            requests = [asyncio.create_task(post(session, {"messages": SUMMARISE})) for _ in range(30)]
            for _ in requests:
                await waiting.acquire()
            during = server.statistics.in_flight
            gate.set()
            await asyncio.gather(*requests)
            return during, await stats(session)

    during, seen = asyncio.run(ask())
    assert during == seen["max_in_flight"] == 30
    assert seen["in_flight"] == 0


def test_above_the_limit_it_answers_429_with_the_time_to_wait():
    async def ask():
        clock = [0.0]
        async with running(now=lambda: clock[0], requests_per_minute=120) as (_, session):
            answers = [await post(session, {"messages": SUMMARISE}) for _ in range(3)]
            clock[0] = int(answers[-1][1]["retry-after-ms"]) / 1000
            answers.append(await post(session, {"messages": SUMMARISE}))
            return answers, await stats(session)

    answers, seen = asyncio.run(ask())
    assert [status for status, _, _ in answers] == [200, 200, 429, 200]
    _, headers, body = answers[2]
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert headers["Retry-After"] == "1"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert (seen["requests"], seen["answered"], seen["rate_limited"]) == (4, 3, 1)


def test_injected_errors_come_at_their_rate_and_leave_nothing_in_flight():
    async def ask():
        async with running(error_rate=0.3, seed=1) as (_, session):
            statuses = [(await post(session, {"messages": SUMMARISE}))[0] for _ in range(200)]
            return statuses, await stats(session)

    statuses, seen = asyncio.run(ask())
    assert set(statuses) == {200, 500}
    assert 40 <= statuses.count(500) <= 80
    assert seen["injected_errors"] == statuses.count(500)
    assert seen["in_flight"] == 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[" * 100_000, None),
        (b'{"a": ' + b"9" * 5000 + b"}", None),
        (b"\xff\xfe\x00", None),
        ([], None),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"messages": [{"role": "user"}, {"role": "wizard", "content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": SUMMARISE, "n": 2}, "n"),
        ({"messages": SUMMARISE, "max_tokens": 0}, "max_tokens"),
        ({"messages": SUMMARISE, "stream": "yes"}, "stream"),
        ({"messages": SUMMARISE, "stream_options": [1]}, "stream_options"),
    ],
)
def test_a_bad_body_gets_400_in_openai_s_shape(body, param):
    async def ask():
        async with running() as (_, session):
            return await post(session, body), await stats(session)

    (status, _, document), seen = asyncio.run(ask())
    assert status == 400
    assert document["error"]["type"] == "invalid_request_error"
    assert document["error"]["param"] == param
    assert seen["bad_requests"] == 1


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nope", 404), ("GET", OPENAI, 405), ("POST", "/v1/models", 405)]
)
def test_unknown_paths_and_methods_are_refused_in_openai_s_shape(method, path, status):
    async def ask():
        async with running() as (_, session), session.request(method, path) as answer:
            return answer.status, await answer.json()

    found, document = asyncio.run(ask())
    assert found == status
    assert path in document["error"]["message"]


def test_a_body_that_is_not_compressed_as_its_header_says_gets_400():
    async def ask():
        async with running() as (_, session):
            headers = {"Content-Encoding": "gzip"}
            async with session.post(OPENAI, data=b"no gzip at all", headers=headers, compress=False) as answer:
                return answer.status

    assert asyncio.run(ask()) == 400


@pytest.fixture(scope="module")
def post_any():
    """A function that posts a body to one running server and gives status and text."""
    with asyncio.Runner() as runner:
        context = running()
        _, session = runner.run(context.__aenter__())

        async def send(body):
            async with session.post(OPENAI, data=body) as answer:
                return answer.status, await answer.text()

        yield lambda body: runner.run(send(body))
        runner.run(context.__aexit__(None, None, None))


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30)
VALUES = st.recursive(
    LEAVES, lambda c: st.lists(c, max_size=4) | st.dictionaries(st.text(max_size=8), c, max_size=4), max_leaves=10
)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "developer"]) | VALUES
CONTENTS = st.text(st.characters(), max_size=300) | st.lists(
    st.fixed_dictionaries({"type": st.just("text") | VALUES, "text": st.text(max_size=50) | VALUES}), max_size=3
)
MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": CONTENTS | VALUES}), max_size=4)
NEARLY_CHAT = st.fixed_dictionaries(
    {"messages": MESSAGES | VALUES},
    optional={
        "max_tokens": st.integers(-1, 50) | VALUES,
        "stream": st.booleans() | VALUES,
        "stream_options": st.just({"include_usage": True}) | VALUES,
        "n": st.just(1) | VALUES,
        "temperature": VALUES,
    },
)


@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=200) | VALUES.map(json.dumps) | NEARLY_CHAT.map(json.dumps))
def test_no_body_makes_it_fail(post_any, body):
    status, text = post_any(body)
    assert status in (200, 400)
    if status == 400:
        assert set(json.loads(text)["error"]) == {"message", "type", "param", "code"}
