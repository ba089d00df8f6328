"""Checks of what listens on this machine: the Prefect server by a real route, and fixed ports."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from orchestration.platforms import open_platform
from orchestration.prefect_flows.private_server import Server, credentials, find_server
from orchestration.settings import Settings
from orchestration.steps import serving
from orchestration.steps.doctor import Check, fail, ok, warn

SECONDS = 5.0
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
    """Fixed ports must be free, or ours."""
    ours = _our_ports(settings)
    for key, host, port in (
        ("endpoint.port", settings.endpoint.host, settings.endpoint.port),
        ("prefect.port", "127.0.0.1", settings.prefect.port),
    ):
        if port:
            yield _port(key, host, port, ours)
    if not settings.endpoint.port and not settings.prefect.port:
        yield ok("ports", "free ones are taken as they are needed")


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


def _our_ports(settings: Settings) -> set[int]:
    urls = [each["url"] for each in serving.overview(open_platform(settings), settings.environment)]
    server = find_server(settings.root, settings.state)
    if server is not None and server.own:
        urls.append(server.api_url)
    return {port for url in urls if (port := urlsplit(url).port)}


def _port(key: str, host: str, port: int, ours: set[int]) -> Check:
    if port in ours:
        return ok("ports", f"{key} {port} is in use by this project")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return fail(
                "ports", f"{key} {port} can't be used: {error.strerror}", "Choose another, or 0 for any free one."
            )
    return ok("ports", f"{key} {port} is free")
