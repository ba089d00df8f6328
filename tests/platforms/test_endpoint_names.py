import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.errors import ConfigurationError
from orchestration.platforms.names import check_name, deployment_name, endpoint_name, shorten
from orchestration.values import sha256

AZURE = re.compile(r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")
FLOW = st.from_regex(r"[a-z][a-z0-9_-]{0,40}", fullmatch=True)


@settings(deadline=None)
@given(FLOW, st.sampled_from(["local", "pr", "dev", "qa", "prod"]))
def test_endpoint_names_are_valid_and_the_same_each_time(flow: str, environment: str) -> None:
    name = endpoint_name(flow, environment)
    assert check_name("endpoint", name) == name == endpoint_name(flow, environment)
    assert AZURE.match(name)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_becomes_a_valid_name(text: str) -> None:
    assert check_name("endpoint", shorten(text))


def test_underscores_become_dashes() -> None:
    assert endpoint_name("web_classification", "qa") == "web-classification-qa"


def test_long_names_that_differ_at_their_end_stay_different() -> None:
    names = {endpoint_name("a" * 40 + last, "local") for last in "bcd"}
    assert len(names) == 3


def test_deployment_names_follow_content_binding_variant_and_attempt() -> None:
    content, binding = sha256("content"), sha256("binding")
    name = deployment_name(content, binding)
    others = {
        deployment_name(sha256("other"), binding),
        deployment_name(content, sha256("other")),
        deployment_name(content, binding, variant="${classify.variant_1}"),
        deployment_name(content, binding, attempt=2),
    }
    assert name == deployment_name(content, binding)
    assert len(others | {name}) == 5
    assert all(check_name("online deployment", each) for each in others | {name})


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 33, "web_classification", "1st", "-a-", "abc-", "a b c", "äöü", "abc\n"]
)
def test_invalid_names_are_refused_with_one_that_is_valid(name: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_name("endpoint", name)
    suggested = refused.value.cure.split("'")[1]
    assert check_name("endpoint", suggested)
