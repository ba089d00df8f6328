"""Calls an endpoint as its users do: over HTTP, with its key, which stays in memory."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from orchestration.errors import PlatformTimeout, PlatformUnavailable
from orchestration.platforms.azure.endpoints import Endpoints
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.base import Answer
from orchestration.values import Json

DEPLOYMENT_HEADER = "azureml-model-deployment"
MODEL_STATUS, MODEL_REASON = "ms-azureml-model-error-statuscode", "ms-azureml-model-error-reason"
FAILED_MODEL = 424  # the container answered something else than 200


@dataclass(frozen=True, slots=True)
class Door:
    """The way into an endpoint: its scoring address and its key."""

    url: str
    key: str = field(repr=False)


class Scoring:
    """Sends requests to the endpoints of a workspace. May be used by several threads."""

    def __init__(self, session: Session, endpoints: Endpoints) -> None:
        self._session, self._endpoints = session, endpoints

    def url(self, endpoint: str) -> str:
        """The scoring address; empty while the endpoint is being created. Raises `ResourceNotFound`."""
        return str(self._endpoints.need(endpoint).scoring_uri or "")

    def invoke(self, endpoint: str, inputs: Mapping[str, Json], deployment: str, timeout_seconds: float) -> Answer:
        """One request. Raises `PlatformTimeout`, or `PlatformUnavailable` if nothing answers.

        What Azure answers in the model's place keeps its status: 408 took too long, 424 the container failed
        (then the body says with what), 429 too many requests at once.
        """
        known = self._session.doors.get(endpoint)
        answer = self._sent(known or self._door(endpoint), inputs, deployment, timeout_seconds)
        if known and answer.status in (401, 403):  # the key was changed, or the endpoint made anew
            answer = self._sent(self._door(endpoint), inputs, deployment, timeout_seconds)
        return answer

    def example(self, endpoint: str, inputs: Mapping[str, Json]) -> str:
        """A shell command for one request, which fetches the key when it runs."""
        workspace = self._session.workspace
        place = f"-g {shlex.quote(workspace.resource_group)} -w {shlex.quote(workspace.workspace)}"
        fetch = f"az ml online-endpoint get-credentials -n {endpoint} {place} --query primaryKey -o tsv"
        body = shlex.quote(json.dumps(dict(inputs), ensure_ascii=False))
        header = f'-H "Authorization: Bearer $({fetch})"'
        return f"curl -s {self.url(endpoint)} {header} -H 'Content-Type: application/json' -d {body}"

    def _door(self, endpoint: str) -> Door:
        url = self.url(endpoint)
        with translated(f"read the key of the endpoint {endpoint}"):
            keys = self._session.ml.online_endpoints.get_keys(endpoint)
        door = self._session.doors[endpoint] = Door(url, _key(keys))
        return door

    def _sent(self, door: Door, inputs: Mapping[str, Json], deployment: str, timeout_seconds: float) -> Answer:
        headers = {"Authorization": f"Bearer {door.key}"} | ({DEPLOYMENT_HEADER: deployment} if deployment else {})
        started = time.perf_counter()
        try:
            answer = self._session.http.post(door.url, json=dict(inputs), headers=headers, timeout=timeout_seconds)
        except httpx.TimeoutException:
            raise PlatformTimeout(f"The answer of {door.url}", timeout_seconds, last="no answer") from None
        except httpx.TransportError as error:
            raise PlatformUnavailable(f"{door.url} does not answer: {error}.", cure="Run it again.") from error
        seconds = time.perf_counter() - started
        return Answer(answer.status_code, _body(answer), seconds, answer.headers.get(DEPLOYMENT_HEADER, ""))


def _key(keys: Any) -> str:
    """A key, or the token of an endpoint that takes tokens."""
    return str(getattr(keys, "primary_key", None) or keys.access_token)


def _body(answer: httpx.Response) -> Json:
    try:
        body: Json = answer.json()
    except ValueError:
        body = answer.text
    if answer.status_code != FAILED_MODEL:
        return body
    said = {name: answer.headers[name] for name in (MODEL_STATUS, MODEL_REASON) if name in answer.headers}
    return {"answer": body, **said}
