"""Calls to this machine go around the user's web proxies."""

from __future__ import annotations

import pytest

from orchestration.web_proxies import direct

PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


@pytest.mark.parametrize(
    ("environment", "exceptions"),
    [
        ({}, None),
        ({"NO_PROXY": "example.org", "HTTP_PROXY": ""}, None),
        (PROXY, "127.0.0.1,localhost"),
        ({"all_proxy": "socks5://proxy"}, "127.0.0.1,localhost"),
        (PROXY | {"NO_PROXY": "example.org, .intranet"}, "example.org,.intranet,127.0.0.1,localhost"),
        (PROXY | {"NO_PROXY": "a", "no_proxy": "localhost,b"}, "a,localhost,b,127.0.0.1"),
        (PROXY | {"NO_PROXY": "*"}, "*,127.0.0.1,localhost"),
    ],
)
def test_this_machine_is_an_exception_wherever_there_is_a_proxy(environment, exceptions) -> None:
    assert direct(environment) == ({"NO_PROXY": exceptions, "no_proxy": exceptions} if exceptions else {})
