from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from orchestration.model_proxy.hints import read_hints, retry_after, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17", 17.0),
        ("0.5", 0.5),
        ("120ms", 0.12),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("", None),
        ("soon", None),
        ("5 parsecs", None),
        ("-1", None),
        ("nan", None),
    ],
)
def test_durations(text: str, expected: float | None) -> None:
    assert seconds(text) == (None if expected is None else pytest.approx(expected))


def test_openai_headers() -> None:
    headers = CIMultiDict(
        {
            "X-RateLimit-Limit-Requests": "1200",
            "x-ratelimit-remaining-requests": "1199",
            "x-ratelimit-reset-requests": "50ms",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-tokens": "6m0s",
        }
    )
    hints = read_hints(headers)
    assert (hints.requests.limit, hints.requests.remaining, hints.requests.reset) == (1200, 1199, 0.05)
    assert (hints.tokens.limit, hints.tokens.remaining, hints.tokens.reset) == (150000, 149984, 360)
    assert hints.retry_after is None


def test_azure_names_the_period_and_writes_minus_one_for_unknown() -> None:
    hints = read_hints(
        {
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-renewalperiod-requests": "10",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-limit-tokens": "-1",
            "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-reset-tokens": "0",
        }
    )
    assert hints.requests.limit == 60
    assert (hints.tokens.limit, hints.tokens.remaining) == (None, None)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "150", "retry-after": "1"}, 0.15),
        ({"retry-after": "86400"}, 3600.0),
        ({"retry-after": "never"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after(headers) == expected


def test_retry_after_as_a_date() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after({"retry-after": date}) == pytest.approx(30, abs=2)


def test_a_refusal_names_its_limit() -> None:
    openai = b'{"error": {"type": "tokens", "message": "Rate limit reached on tokens per min (TPM)"}}'
    azure = b'{"error": {"code": "429", "message": "exceeded call rate limit of your pricing tier"}}'
    assert read_hints({}, refusal=openai).limited == "tokens"
    assert read_hints({}, refusal=azure).limited == "requests"
    assert read_hints({}, refusal=b"busy").limited is None
    assert read_hints({"x-rate-limit-reset-tokens": "55"}, refusal=azure).retry_after == 55


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-limit-tokens"]), st.text()))
def test_no_header_is_fatal(headers: dict[str, str]) -> None:
    hints = read_hints(headers, refusal=b"")
    assert hints.retry_after is None or 0 <= hints.retry_after <= 3600
    assert hints.tokens.limit is None or hints.tokens.limit > 0
