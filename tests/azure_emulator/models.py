"""Azure OpenAI: any resource that a connection names, answered by the embedded model."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orchestration.embedded_model.server import EmbeddedModel, embedded_model

from .machine_learning import types
from .machine_learning.connections import secrets_of
from .relay import Relay
from .wire import Request, Response, error

if TYPE_CHECKING:
    from .cloud import Cloud

HOST = r"[a-z0-9-]+\.openai\.azure\.com"
AUDIENCE = "https://cognitiveservices.azure.com"
_DEPLOYMENT = re.compile(r"^/openai/deployments/(?P<name>[^/]+)/")


def install(cloud: Cloud) -> None:
    """Answer at the hosts of Azure OpenAI."""
    models = Models(cloud)
    cloud.add(models)
    cloud.route(HOST, models.handle, kind="model")
    cloud.at_stop(models.stop)


class Models:
    """The model resources. A host has those keys that connections to it hold, or those in `keys` if it is there.

    `deployments` says, by host, which model deployments exist; a host that is not in it has any.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.keys: dict[str, set[str]] = {}
        self.deployments: dict[str, set[str]] = {}
        self._cloud = cloud
        self._running = contextlib.AsyncExitStack()
        self._model: EmbeddedModel | None = None
        self._starting = asyncio.Lock()

    async def stop(self) -> None:
        """End the server."""
        await self._running.aclose()

    async def handle(self, request: Request) -> Response | None:
        """The model's answer to those who have a key or a token."""
        if not self._may(request):
            text = "Access denied due to invalid subscription key or wrong API endpoint."
            return error(401, "401", text)
        named, known = _DEPLOYMENT.match(request.path), self.deployments.get(request.host)
        if named and known is not None and named["name"] not in known:
            return error(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
        if named and "api-version" not in request.query:
            return error(404, "404", "Resource not found")
        model = await self._ready()
        return await self._cloud.of(Relay).send(request, f"{model.url}{request.path}")

    def _may(self, request: Request) -> bool:
        key = request.headers.get("api-key")
        if key is not None:
            return key in self._keys(request.host)
        token = self._cloud.directory.token_of(request.headers)
        return token is not None and token.audience.rstrip("/") == AUDIENCE

    def _keys(self, host: str) -> set[str]:
        """The valid keys of a resource."""
        if host in self.keys:
            return self.keys[host]
        to_it = (
            each
            for each in self._cloud.arm.below("", types.CONNECTION)
            if (urlsplit(str(each.properties.get("target"))).hostname or "").lower() == host
        )
        return {str(secrets_of(each).get("key")) for each in to_it if secrets_of(each).get("key")}

    async def _ready(self) -> EmbeddedModel:
        async with self._starting:
            if self._model is None:
                self._model = await self._running.enter_async_context(embedded_model())
            return self._model
