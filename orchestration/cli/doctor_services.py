"""Checks of what listens on this machine: the Prefect server by a real route, and fixed ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from orchestration.platforms.base import DAMAGED, SUCCEEDED
from orchestration.platforms.names import endpoint_name
from orchestration.prefect_flows.private_server import Server, credentials, find_server
from orchestration.settings import Settings
from orchestration.steps import endpoints
from orchestration.steps.doctor import Check, fail, ok, warn
from orchestration.steps.prepare import ALL

SECONDS = 5.0
ANOTHER = "Choose another, or 0 for any free one."
ROUTE = "admin/version"  # /health alone is 200 on a server whose routes are all broken


def prefect_server(root: Path, state: Path) -> Check:
    """The Prefect server that is in use, asked for a real route; ours must refuse strangers."""
    server = find_server(root, state)
    if server is None:
        return ok("prefect", "no server runs; `sluice run` starts a private one")
    auth = credentials(root) if server.own else None
    try:
        answer = httpx.get(f"{server.api_url}/{ROUTE}", auth=auth, timeout=SECONDS)
        stranger = httpx.get(f"{server.api_url}/{ROUTE}", timeout=SECONDS).status_code
    except (httpx.TransportError, httpx.InvalidURL) as error:
        return fail("prefect", f"{server.api_url} does not answer: {error}", _cure(server))
    return _judged(server, answer, stranger)


def ports(settings: Settings) -> Iterator[Check]:
    """Fixed ports must be free, or used by what they are meant for."""
    own = settings.endpoint.port and settings.platform == "local"
    if own:
        yield _endpoint_port(settings)
    if settings.prefect.port:
        yield _prefect_port(settings)
    if not own and not settings.prefect.port:
        yield ok("ports", "free ones are taken as they are needed")


def damaged_endpoints(settings: Settings) -> Iterator[Check]:
    """Endpoints that can't be read: they can only be removed."""
    yield from (fail("endpoint", each["message"]) for each in endpoints.listed(settings) if each["state"] == DAMAGED)


def _judged(server: Server, answer: httpx.Response, stranger: int) -> Check:
    if server.own and stranger == httpx.codes.OK:
        return fail("prefect", f"{server.api_url} answers without a password", "sluice down, then sluice run")
    if answer.status_code == httpx.codes.OK:
        return ok("prefect", f"{server.api_url} answers, version {answer.text.strip().strip(chr(34))[:20]}")
    if not server.own and answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return warn(
            "prefect", f"{server.api_url} wants credentials, which only Prefect has", "Next: prefect config view"
        )
    return fail("prefect", f"{server.api_url}/{ROUTE} answers {answer.status_code}", _cure(server))


def _cure(server: Server) -> str:
    return "sluice down, then sluice run" if server.own else "Check PREFECT_API_URL, or unset it."


def _endpoint_port(settings: Settings) -> Check:
    port, default = settings.endpoint.port, settings.default_prompt_flow
    user = next((e["name"] for e in endpoints.listed(settings) if _listens(e["url"], port, e["state"])), None)
    if user is None:
        return _port(f"endpoint.port {port}", settings.endpoint.host, port)
    if default in (ALL, user) or user == (settings.endpoint.name or endpoint_name(default, settings.environment)):
        return ok("ports", f"endpoint.port {port} is in use by endpoint {user}")
    return fail("ports", f"endpoint.port {port} is in use by endpoint {user}, not by that of {default}", ANOTHER)


def _prefect_port(settings: Settings) -> Check:
    port, server = settings.prefect.port, find_server(settings.root, settings.state)
    if server is not None and server.own and urlsplit(server.api_url).port == port:
        return ok("ports", f"prefect.port {port} is in use by this project")
    return _port(f"prefect.port {port}", "127.0.0.1", port)


def _listens(url: str, port: int, state: str) -> bool:
    return state == SUCCEEDED and urlsplit(url).port == port


def _port(what: str, host: str, port: int) -> Check:
    problem = endpoints.port_problem(host, port)
    return fail("ports", f"{what} can't be used: {problem}", ANOTHER) if problem else ok("ports", f"{what} is free")
