from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.redaction import REDACTED, Redactor, texts_in

KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nAQEFAASCBKcwggSjAgEAAoI\n-----END KEY-----\n"
SECRETS = ["s3cret/with=signs", 'with "quotes" and ä', "back\\slash", "12345678", KEY.strip()]


def test_a_secret_is_found_as_json_writes_it() -> None:
    for secret in SECRETS[:3]:
        assert Redactor([secret]).clean(json.dumps({"error": secret}).encode()) == b'{"error": "[redacted]"}'


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        lambda secret: json.dumps(secret, ensure_ascii=False),
        quote,
        lambda secret: quote(secret, safe=""),
        lambda secret: urlencode({"key": secret}),
        lambda secret: " ".join(secret.split()),
        lambda secret: secret.splitlines()[-1],
    ],
)
def test_a_secret_is_found_however_it_is_written(secret: str, write) -> None:
    text = f"said: {write(secret)}!"
    for cleaned in (Redactor([secret]).clean(text.encode()).decode(), Redactor([secret]).clean_value(text)):
        assert not any(line in cleaned for line in (secret, *secret.splitlines()))
        assert REDACTED in cleaned


def test_it_is_taken_out_of_data_wherever_it_stands() -> None:
    data = {"s3cret-value": ["a s3cret-value", {"n": 12345678, "f": 0.12345678, "b": True, "z": None}]}
    cleaned = Redactor(["s3cret-value", "12345678"]).clean_value(data)
    assert cleaned == {REDACTED: ["a [redacted]", {"n": REDACTED, "f": 0.12345678, "b": True, "z": None}]}


def test_short_values_are_no_secrets() -> None:
    assert Redactor(["", "1", "true", "a\nb"]).clean(b"1 is true\na\nb") == b"1 is true\na\nb"


def test_what_was_learned_later_is_taken_out_too() -> None:
    redactor = Redactor(["first-one"])
    redactor.learn(["second-one-that-is-longer"])
    assert redactor.clean(b"first-one second-one-that-is-longer") == b"[redacted] [redacted]"
    assert redactor.longest == len("second-one-that-is-longer")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.text(min_size=6), JSON, st.sampled_from(["", "before ", "\\", "\n"]))
def test_a_quick_look_at_a_line_misses_nothing(secret: str, value: object, before: str) -> None:
    redactor = Redactor([secret])
    data = {"value": value, "said": before + secret}
    assert redactor.is_in(json.dumps(data).encode())
    assert secret not in json.loads(json.dumps(redactor.clean_value(data)))["said"] or secret in REDACTED
    if not redactor.is_in(json.dumps({"value": value}).encode()):
        assert redactor.clean_value(value) == value


def test_texts_are_all_values_but_no_names() -> None:
    assert list(texts_in({"a": "x", "b": [1, {"c": None}], "d": True})) == ["x", "1", "True"]
