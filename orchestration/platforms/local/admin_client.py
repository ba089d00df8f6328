"""Asks a gateway over its admin socket, and raises its refusals as our errors."""

from __future__ import annotations

from typing import Any

import httpx

from orchestration import errors
from orchestration.errors import PlatformUnavailable, SluiceError

PLAIN = ("ConfigurationError", "PlatformConflict", "ResourceNotFound", "ResourceRefused", "PlatformError")
TIMEOUT_SECONDS = 30.0


def ask(socket: str, method: str, path: str, body: Any = None, **query: Any) -> Any:
    """The gateway's answer. Raises what it refused with, `PlatformUnavailable` if it can't be reached."""
    transport = httpx.HTTPTransport(uds=socket, verify=False)
    try:
        with httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            answer = client.request(method, f"http://gateway{path}", json=body, params=query)
    except httpx.TransportError as error:
        raise PlatformUnavailable(
            f"The endpoint's gateway can't be reached: {error}.", cure="Run `sluice endpoint start`."
        ) from error
    if answer.is_success:
        return answer.json()
    raise (
        restore(answer.json())
        if _is_refusal(answer)
        else PlatformUnavailable(f"The endpoint's gateway failed with status {answer.status_code}; its log says why.")
    )


def _is_refusal(answer: httpx.Response) -> bool:
    return answer.status_code < 500 and answer.headers.get("content-type", "").startswith("application/json")


def restore(described: Any) -> SluiceError:
    """The error that the gateway described."""
    name = described["error"] if described["error"] in PLAIN else "PlatformError"
    error: SluiceError = getattr(errors, name)(described["message"], cure=described["cure"])
    return error
