from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.errors import ConfigurationError
from orchestration.model_proxy import Ceiling, Prices, Upstream, Usage
from orchestration.model_proxy.cost import CostEstimate, Size, size_of
from orchestration.model_proxy.usage import read_usage
from orchestration.values import Tokens


@given(st.text(), st.integers(0, 10**9), st.integers(0, 10**9))
def test_usage_is_read_whatever_the_answer_says(text: str, prompt: int, completion: int) -> None:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    content = text + json.dumps({"usage": {"prompt_tokens": 1, "completion_tokens": 1}})
    answer = {"choices": [{"message": {"content": content}}], "usage": usage}
    for ensure_ascii in (True, False):
        body = json.dumps(answer, ensure_ascii=ensure_ascii).encode("utf-8", "surrogatepass")
        assert read_usage(body) == Tokens(prompt, completion)
        assert read_usage(json.dumps(dict(reversed(answer.items()))).encode()) == Tokens(prompt, completion)


@given(st.binary())
def test_no_body_is_fatal(body: bytes) -> None:
    assert read_usage(body) is None
    size_of(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"usage": {"prompt_tokens": 3, "total_tokens": 3}}', Tokens(3, 0)),
        (b'{"usage": {"input_tokens": 3, "output_tokens": 4}}', Tokens(3, 4)),
        (
            b'data: {"usage":null}\n\ndata: {"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\ndata: [DONE]',
            Tokens(5, 6),
        ),
        (b'{"usage": {"prompt_tokens": "many"}}', None),
        (b'{"usage": {"prompt_tokens": 3', None),
        (b'{"content": "usage"}', None),
    ],
)
def test_usage_in_all_its_forms(body: bytes, expected: Tokens | None) -> None:
    assert read_usage(body) == expected


def test_the_size_of_a_request() -> None:
    assert size_of(b"x" * 400) == Size(100.0, None)
    assert size_of(b'{"max_tokens": 50, "n": 3 }').reply == 150
    assert size_of(b'{"max_completion_tokens":20}').reply == 20
    image = b'{"url": "data:image/png;base64,' + b"A" * 100_000 + b'"}'
    assert size_of(image).prompt < 10


def test_the_estimate_follows_the_answers() -> None:
    estimate = CostEstimate(assume_longest=False)
    for _ in range(30):
        estimate.used(Size(100, 1000), Tokens(150, 20))
    assert estimate.of(Size(100, 1000)) == pytest.approx(170, rel=0.05)
    assert estimate.of(Size(200, None)) == pytest.approx(320, rel=0.05)


def test_refusals_make_the_estimate_careful() -> None:
    estimate = CostEstimate(assume_longest=False)
    before = estimate.of(Size(100, 1000))
    estimate.refused()
    estimate.refused()
    assert estimate.of(Size(100, 1000)) > 1000 > before


def test_prices_and_sums() -> None:
    usage = Usage.of(Tokens(1_000_000, 500_000), Prices(2.0, 8.0))
    assert usage.price == pytest.approx(6.0)
    assert (usage + usage).tokens == 3_000_000


def test_ceilings() -> None:
    assert Ceiling(max_tokens=10).reached(Usage(prompt_tokens=9)) is None
    assert "10 of 10 tokens" in (Ceiling(max_tokens=10).reached(Usage(prompt_tokens=9, completion_tokens=1)) or "")
    assert "0.5000 of 0.5" in (Ceiling(max_price=0.5).reached(Usage(price=0.5)) or "")
    with pytest.raises(ConfigurationError, match="max_price"):
        Ceiling(max_price=-1)


def test_upstreams_travel_as_data() -> None:
    upstream = Upstream(
        "azure_openai",
        "https://models.example",
        api_version="2024-10-21",
        deployment="gpt",
        api_key="s3cret",
        requests_per_minute=60,
        prices=Prices(1, 2),
    )
    assert Upstream.from_dict(json.loads(json.dumps(upstream.to_dict()))) == upstream
    assert "s3cret" not in repr(upstream)
    assert Upstream.from_dict({"kind": "offline"}) == Upstream("offline")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"kind": "bedrock"}, "kind 'bedrock' is unknown"),
        ({"kind": "openai"}, "no http or https address"),
        ({"kind": "openai", "base_url": "ftp://x"}, "no http or https address"),
        ({"kind": "offline", "requests_per_minute": 0}, "must be above 0"),
        ({"kind": "offline", "colour": "red"}, "colour"),
    ],
)
def test_bad_upstreams_are_refused(data: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Upstream.from_dict(data)


def test_bad_upstreams_do_not_show_their_key() -> None:
    with pytest.raises(ConfigurationError) as raised:
        Upstream.from_dict({"kind": "offline", "api_key": "s3cret", "colour": "red"})
    assert "s3cret" not in str(raised.value)
