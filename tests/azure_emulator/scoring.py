"""The front door of online endpoints: who may call, which deployment answers, and what is said when it does not."""

from __future__ import annotations

import asyncio
import hmac
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp

from . import durations
from .containers import Container
from .kinds import Resource
from .machine_learning import traffic, types
from .machine_learning.deployments import container_of
from .machine_learning.endpoints import scoring_host
from .operations import UPDATING
from .relay import Relay
from .wire import Request, Response

if TYPE_CHECKING:
    from .cloud import Cloud

DEPLOYMENT_HEADER = "azureml-model-deployment"
AAD_AUDIENCE = "https://ml.azure.com"
GUIDE = (
    "\nPlease check this guide to understand why this error code might have been returned \n"
    "https://docs.microsoft.com/en-us/azure/machine-learning/how-to-troubleshoot-online-endpoints#http-status-codes\n"
)


def install(cloud: Cloud) -> None:
    """Answer at the scoring hosts of the region."""
    scoring = Scoring(cloud)
    cloud.add(scoring)
    cloud.route(rf"[a-z0-9-]+\.{cloud.region}\.inference\.ml\.azure\.com", scoring.handle, kind="score")


@dataclass(frozen=True, slots=True)
class Answered:
    """One request that reached an endpoint: the deployment that was chosen, and the status that the caller got."""

    endpoint: str
    deployment: str
    status: int


class Scoring:
    """Passes requests on to containers. `answered` is what the endpoints have seen; `chance` spreads traffic."""

    def __init__(self, cloud: Cloud) -> None:
        self.answered: list[Answered] = []
        self.chance = random.Random(0)
        self._cloud = cloud
        self._mirrored: set[asyncio.Task[Response]] = set()

    async def handle(self, request: Request) -> Response | None:
        """The answer of a deployment; None if no endpoint has that host."""
        endpoint = self._endpoint(request.host)
        if endpoint is None:
            return None
        name, response = "", self._refused(endpoint, request)
        if response is None:
            name, response = await self._route(endpoint, request)
        self.answered.append(Answered(endpoint.id.name, name, response.status))
        told = {"x-request-id": request.headers.get("x-request-id") or str(uuid.uuid4())}
        return replace(response, headers={**told, **({DEPLOYMENT_HEADER: name} if name else {}), **response.headers})

    def _endpoint(self, host: str) -> Resource | None:
        found = self._cloud.arm.below("", types.ENDPOINT)
        return next((each for each in found if scoring_host(self._cloud, each.id.name) == host), None)

    def _refused(self, endpoint: Resource, request: Request) -> Response | None:
        """The answer to who may not call; None to who may."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not given:
            return _plain(401, "key_auth_bad_header_forbidden")
        return None if self._is_known(endpoint, given.strip(), request) else _plain(401, "key_auth_access_denied")

    def _is_known(self, endpoint: Resource, given: str, request: Request) -> bool:
        mode = endpoint.properties["authMode"]
        if mode == "Key":
            keys = endpoint.data["keys"].values()
            return any(hmac.compare_digest(given.encode(), key.encode()) for key in keys)
        if mode == "AMLToken":
            return bool(endpoint.data["tokens"].get(given, 0) > self._cloud.clock.now())
        token = self._cloud.directory.token_of(request.headers)
        return token is not None and token.audience.rstrip("/") == AAD_AUDIENCE

    async def _route(self, endpoint: Resource, request: Request) -> tuple[str, Response]:
        # Until the update is done, requests go where they went before it.
        updating = endpoint.pending and endpoint.state == UPDATING and endpoint.previous
        rules = (endpoint.previous if updating else endpoint.body) or {}
        shares, mirrored = rules["properties"]["traffic"], rules["properties"]["mirrorTraffic"]
        asked = request.headers.get(DEPLOYMENT_HEADER)
        name = asked or traffic.next_deployment(shares, self.chance)
        deployment = self._deployment(endpoint, name) if name else None
        if deployment is None:
            return "", _plain(404, "The endpoint has no deployment that takes this request.")
        copy_for = None if asked else traffic.mirror_of(mirrored, self.chance)
        self._mirror(endpoint, copy_for, request)
        return deployment.id.name, await self._ask(deployment, request)

    def _deployment(self, endpoint: Resource, name: str) -> Resource | None:
        """The deployment of that name, if its container was ever healthy."""
        found = self._cloud.arm.peek(f"{endpoint.id.path}/deployments/{name}")
        return found if found and container_of(found) else None

    def _mirror(self, endpoint: Resource, name: str | None, request: Request) -> None:
        deployment = self._deployment(endpoint, name) if name else None
        if deployment:
            task = asyncio.get_running_loop().create_task(self._ask(deployment, request))
            self._mirrored.add(task)
            task.add_done_callback(self._mirrored.discard)

    async def _ask(self, deployment: Resource, request: Request) -> Response:
        container, settings = container_of(deployment), deployment.properties["requestSettings"]
        assert container is not None
        capacity = (deployment.body.get("sku") or {}).get("capacity", 1)
        if container.pending >= 2 * settings["maxConcurrentRequestsPerInstance"] * capacity:
            return _plain(429, "Too many requests are pending.")
        container.pending += 1
        try:
            return await self._answer(container, settings, request)
        finally:
            container.pending -= 1

    async def _answer(self, container: Container, settings: Mapping[str, str], request: Request) -> Response:
        limit = durations.seconds(settings["requestTimeout"])
        path = container.routes["scoringRoute"] if request.path == "/score" else request.path
        try:
            answer = await self._cloud.of(Relay).send(request, f"{container.url}{path}", seconds=limit)
        except TimeoutError:
            return _plain(408, "upstream request timeout")
        except aiohttp.ClientError:
            return _failed(502, b"")
        return answer if answer.status == 200 else _failed(answer.status, answer.content())


def _plain(status: int, text: str) -> Response:
    """What the front door itself says."""
    return Response(status, f"{text}{GUIDE}".encode(), {"Content-Type": "text/plain; charset=utf-8"})


def _failed(status: int, said: bytes) -> Response:
    """A container's answer that is no 200: always 424, the rest is in headers."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "model_error"
    told = {"ms-azureml-model-error-statuscode": str(status), "ms-azureml-model-error-reason": reason}
    return Response(424, said + GUIDE.encode(), {"Content-Type": "text/plain; charset=utf-8", **told})
