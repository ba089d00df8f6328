"""The admin side of an endpoint: JSON over a unix socket in a private folder. Bodies may hold secrets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from orchestration.errors import ConfigurationError, ResourceNotFound, SluiceError
from orchestration.platforms.local.desired import Deployment, ServerSpec
from orchestration.platforms.local.live_endpoint import LiveEndpoint
from orchestration.values import as_json

LARGEST_BODY = 16 * 2**20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminSide:
    """What the platform asks of the gateway. `app` is the aiohttp application."""

    def __init__(self, endpoint: LiveEndpoint) -> None:
        self._endpoint = endpoint
        self.app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_errors])
        self.app.add_routes(
            [
                web.get("/", self._state),
                web.put("/tags", self._retag),
                web.patch("/tags", self._tag),
                web.delete("/", self._delete_endpoint),
                web.put("/traffic", self._set_traffic),
                web.put("/deployments/{name}", self._create),
                web.delete("/deployments/{name}", self._delete),
                web.patch("/deployments/{name}/tags", self._tag),
                web.put("/deployments/{name}/connections", self._supply),
                web.put("/deployments/{name}/runtime", self._move),
                web.get("/deployments/{name}/load", self._load),
            ]
        )

    async def _state(self, _: web.Request) -> web.Response:
        desired = self._endpoint.desired
        deployments = {name: asdict(self._endpoint.status(name)) for name in desired.deployments}
        return web.json_response({"state": desired.state, "tags": dict(desired.tags), "deployments": deployments})

    async def _retag(self, request: web.Request) -> web.Response:
        self._endpoint.retag(await request.json())
        return web.json_response({})

    async def _tag(self, request: web.Request) -> web.Response:
        self._endpoint.tag(await request.json(), request.match_info.get("name", ""))
        return web.json_response({})

    async def _delete_endpoint(self, _: web.Request) -> web.Response:
        self._endpoint.delete_endpoint()
        return web.json_response({}, status=202)

    async def _set_traffic(self, request: web.Request) -> web.Response:
        body = await request.json()
        traffic = self._endpoint.set_traffic(body["weights"], body["generation"], body["previous"])
        return web.json_response(as_json(traffic))

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        wanted = Deployment(_name(request), ServerSpec.from_json(body["spec"]), body["tags"])
        self._endpoint.create(wanted, body["connections"])
        return web.json_response({}, status=202)

    async def _delete(self, request: web.Request) -> web.Response:
        self._endpoint.delete(_name(request))
        return web.json_response({}, status=202)

    async def _supply(self, request: web.Request) -> web.Response:
        self._endpoint.supply(_name(request), await request.json())
        return web.json_response({})

    async def _move(self, request: web.Request) -> web.Response:
        self._endpoint.move(_name(request), (await request.json())["runtime"])
        return web.json_response({})

    async def _load(self, request: web.Request) -> web.Response:
        served = self._endpoint.server(_name(request)).served
        return web.json_response(asdict(served.since(float(request.query["since"]))))


def _name(request: web.Request) -> str:
    return request.match_info["name"]


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except SluiceError as error:
        status = {ResourceNotFound: 404, ConfigurationError: 400}.get(type(error), 409)
        return web.json_response(describe(error), status=status)


def describe(error: SluiceError) -> dict[str, Any]:
    """The error as the client raises it again."""
    return {"error": type(error).__name__, "message": error.message, "cure": error.cure}
