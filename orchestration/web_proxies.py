"""Web proxies are for other machines: what runs on this one is never called through them, passwords and all."""

from __future__ import annotations

from collections.abc import Mapping

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
EXCEPTIONS = ("NO_PROXY", "no_proxy")
THIS_MACHINE = ("127.0.0.1", "localhost")


def direct(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep calls to this machine off the web proxies; none where there is no proxy."""
    if not any(environment.get(name) for name in PROXIES):
        return {}
    listed = [each.strip() for name in EXCEPTIONS for each in environment.get(name, "").split(",") if each.strip()]
    value = ",".join(dict.fromkeys([*listed, *THIS_MACHINE]))
    return dict.fromkeys(EXCEPTIONS, value)
