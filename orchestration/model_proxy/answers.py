"""The answers that the proxy gives itself, in OpenAI's shape of errors.

None of them is worth another attempt by the client: `x-should-retry: false` tells OpenAI's clients so. prompt flow's
own LLM tools do not look at it. They repeat any 5xx, and any 429 that is not of type `insufficient_quota`, up to a hundred
times; so a missed deadline carries that type, and a failed provider becomes a 424.
"""

from __future__ import annotations

import json

from aiohttp import web

LIMIT_DEADLINE, CEILING, UPSTREAM, REQUEST = (
    "sluice_limit_deadline",
    "sluice_ceiling",
    "sluice_upstream_failed",
    "sluice_bad_request",
)
NO_RETRY = {"x-should-retry": "false"}


def limit_deadline(connection: str, seconds: float) -> web.Response:
    message = (
        f"connection {connection}: the provider's rate limit does not let this request through within {seconds:g} s"
    )
    return _error(429, LIMIT_DEADLINE, message, kind="insufficient_quota")


def ceiling(reason: str) -> web.Response:
    return _error(403, CEILING, f"the spending ceiling is reached: {reason}")


def upstream_failed(connection: str, reason: str) -> web.Response:
    return _error(424, UPSTREAM, f"connection {connection}: {reason}")


def bad_request(connection: str, reason: str) -> web.Response:
    return _error(400, REQUEST, f"connection {connection}: {reason}")


def not_found() -> web.Response:
    return _error(404, "sluice_not_found", "there is no such connection")


def _error(status: int, code: str, message: str, *, kind: str | None = None) -> web.Response:
    error = {"message": f"{message} ({code}).", "type": kind or code, "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=NO_RETRY)
