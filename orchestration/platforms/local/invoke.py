"""Calls an endpoint as its users do: over HTTP, with its key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property

import httpx

from orchestration.errors import PlatformTimeout, PlatformUnavailable
from orchestration.platforms.base import Answer
from orchestration.platforms.local.public_names import DEPLOYMENT_HEADER
from orchestration.values import Json


class Caller:
    """A pool of connections to local endpoints. May be used by several threads."""

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(trust_env=False, verify=False)  # noqa: S501 - plain HTTP on this machine

    def invoke(self, url: str, key: str, inputs: Mapping[str, Json], deployment: str, timeout_seconds: float) -> Answer:
        """One request. Raises `PlatformTimeout`, or `PlatformUnavailable` if nothing answers."""
        headers = {"Authorization": f"Bearer {key}"} | ({DEPLOYMENT_HEADER: deployment} if deployment else {})
        started = time.perf_counter()
        try:
            answer = self._http.post(url, json=dict(inputs), headers=headers, timeout=timeout_seconds)
        except httpx.TimeoutException:
            raise PlatformTimeout(f"The answer of {url}", timeout_seconds, last="no answer") from None
        except httpx.TransportError as error:
            raise PlatformUnavailable(
                f"{url} does not answer: {error}.", cure="Run `sluice endpoint start`."
            ) from error
        seconds = time.perf_counter() - started
        return Answer(answer.status_code, _body(answer), seconds, answer.headers.get(DEPLOYMENT_HEADER, ""))


def _body(answer: httpx.Response) -> Json:
    try:
        body: Json = answer.json()
    except ValueError:
        return answer.text
    return body
