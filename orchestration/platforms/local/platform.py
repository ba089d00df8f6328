"""The platform on one machine: an MLflow registry, and one gateway process per endpoint."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestration.errors import PlatformError, ResourceDamaged, ResourceNotFound, SluiceError
from orchestration.platforms.base import (
    OWNER_TAG,
    REMOVAL,
    Answer,
    Endpoint,
    Found,
    Load,
    OnlineDeployment,
    Patience,
    Resource,
    RoleAssignment,
)
from orchestration.platforms.local.admin_client import ask
from orchestration.platforms.local.bring_up import BringUp, Runtimes, make_way
from orchestration.platforms.local.connections import Connections, to_wire
from orchestration.platforms.local.desired import DesiredEndpoint, ServerSpec, check_owned, dismiss, tagged
from orchestration.platforms.local.folder import EndpointFolder, endpoint_folders
from orchestration.platforms.local.hold import held
from orchestration.platforms.local.invoke import Caller
from orchestration.platforms.local.launch import live_gateway, starting, stop_gateway
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.models import Models
from orchestration.platforms.local.snapshot import endpoint_of, running, snapshot
from orchestration.platforms.names import check_name
from orchestration.polling import every
from orchestration.printed_log import last_lines
from orchestration.values import Binding, Candidate, Json, ModelVersion, Traffic, as_json

POLL_SECONDS = 0.2
_log = logging.getLogger(__name__)


class LocalPlatform:
    """Implements `platforms.base.Platform` below the folder `state`.

    `upstreams` resolves a binding's connections to what they need, secrets included; it is called when a
    deployment is created and when its endpoint is brought up. `runtimes` builds a runtime that is gone; without it
    such a deployment does not start. `port` 0: any free one.
    """

    def __init__(
        self,
        state: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        upstreams: Callable[[Binding], Connections],
        limits: Limits | None = None,
        models: Models | None = None,
        runtimes: Runtimes | None = None,
    ) -> None:
        self._state, self._host, self._port = state.absolute(), host, port
        self._upstreams, self._runtimes, self._limits = upstreams, runtimes, limits or Limits()
        self._given_models = models
        self._caller = Caller()

    # ---- resources

    def create(self, resource: Resource) -> None:
        """See `Platform.create`. An endpoint's gateway that does not run is started, with its port and traffic."""
        if isinstance(resource, Endpoint):
            self._create_endpoint(resource)
        elif isinstance(resource, OnlineDeployment):
            self._create_deployment(resource)
        else:
            raise PlatformError(f"This machine knows no {resource.kind}.")

    def get(self, kind: str, name: str, *, endpoint: str = "") -> Found | None:
        """See `Platform.get`. `Stopped`: it is there, but its gateway does not run; `create` the endpoint again."""
        if kind == Endpoint.kind:
            found = snapshot(self._folder(name))
            return None if found is None else found.endpoint
        found = snapshot(self._folder(endpoint))
        return None if found is None else found.deployments.get(name)

    def delete(self, kind: str, name: str, *, endpoint: str = "") -> None:
        """See `Platform.delete`."""
        if kind == Endpoint.kind:
            self._delete_endpoint(self._folder(name))
        else:
            self._delete_deployment(self._folder(endpoint), name)

    def tag(self, kind: str, name: str, tags: Mapping[str, str], *, endpoint: str = "") -> None:
        """See `Platform.tag`; what does not run is tagged on disk."""
        of, deployment = (name, "") if kind == Endpoint.kind else (endpoint, name)
        folder = self._folder(of)
        with starting(folder):
            desired = self._desired(of)
            if live_gateway(folder) is None:
                folder.save(tagged(desired, tags, deployment))
            else:
                path = f"/deployments/{deployment}/tags" if deployment else "/tags"
                ask(desired.socket, "PATCH", path, dict(tags))

    def owned(self, kind: str, *, endpoint: str = "") -> Sequence[Found]:
        """See `Platform.owned`. Online deployments of one endpoint, or of all if none is named."""
        if kind == Endpoint.kind:
            found = [endpoint_of(folder) for folder in endpoint_folders(self._state)]
        else:
            one = [snapshot(self._folder(endpoint))] if endpoint else running(self._state)
            found = [deployment for each in one if each is not None for deployment in each.deployments.values()]
        return [resource for resource in found if resource is not None and OWNER_TAG in resource.tags]

    def logs(self, kind: str, name: str, *, endpoint: str = "", lines: int = 50) -> str:
        """See `Platform.logs`; also of what no longer runs."""
        if kind == Endpoint.kind:
            return last_lines(self._folder(name).log, lines)
        return last_lines(self._folder(endpoint).server_log(name), lines)

    def patience(self, kind: str) -> Patience:
        """See `Platform.patience`. Requests may finish before what serves them goes."""
        limits = self._limits
        return Patience(limits.start_seconds + (limits.drain_seconds if kind == REMOVAL else 0), every(POLL_SECONDS))

    def access(self, endpoint: str) -> Sequence[RoleAssignment]:  # noqa: ARG002 - the Protocol's
        """Nothing: what serves on this machine gets its connections from the gateway."""
        return ()

    def render(self, deployment: OnlineDeployment) -> dict[str, Json]:
        """See `Platform.render`."""
        rendered: dict[str, Json] = as_json(deployment)
        return rendered

    # ---- traffic

    def traffic(self, endpoint: str) -> Traffic:
        """See `Platform.traffic`; read from disk, where every map is before it takes effect."""
        return self._desired(endpoint).traffic

    def set_traffic(
        self,
        endpoint: str,
        weights: Mapping[str, int],
        *,
        generation: int,
        previous: Mapping[str, int] | None = None,
    ) -> Traffic:
        """See `Platform.set_traffic`."""
        remembered = None if previous is None else dict(previous)
        body = {"weights": dict(weights), "generation": generation, "previous": remembered}
        return Traffic(**self._ask(endpoint, "PUT", "/traffic", body))

    def hold(self, endpoint: str, *, owner: str) -> AbstractContextManager[None]:
        """See `Platform.hold`; on this machine the lock ends with its holder."""
        return held(self._folder(endpoint), owner)

    def invoke(
        self, endpoint: str, inputs: Mapping[str, Json], *, deployment: str = "", timeout_seconds: float = 60
    ) -> Answer:
        """See `Platform.invoke`. Raises `PlatformUnavailable` if nothing answers."""
        key = self._folder(endpoint).key
        return self._caller.invoke(self.url(endpoint), key(), inputs, deployment, timeout_seconds)

    def load(self, endpoint: str, deployment: str, *, since: float) -> Load:
        """See `Platform.load`; the gateway counts from its own start on."""
        return Load(**self._ask(endpoint, "GET", f"/deployments/{deployment}/load", since=since))

    def url(self, endpoint: str) -> str:
        """See `Platform.url`."""
        desired = self._desired(endpoint)
        return f"http://{desired.host}:{desired.port}/score"

    def example(self, endpoint: str, inputs: Mapping[str, Json]) -> str:
        """See `Platform.example`; paths relative to the current folder where that is shorter."""
        key = self._folder(endpoint).path / "key"
        shown = key.relative_to(Path.cwd()) if key.is_relative_to(Path.cwd()) else key
        body = shlex.quote(json.dumps(dict(inputs), ensure_ascii=False))
        key_header = f'-H "Authorization: Bearer $(cat {shlex.quote(str(shown))})"'
        return f"curl -s {self.url(endpoint)} {key_header} -H 'Content-Type: application/json' -d {body}"

    # ---- models

    def find_model(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        """See `Platform.find_model`."""
        return self._models.find_model(prompt_flow, content_hash)

    def register_model(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        """See `Platform.register_model`."""
        return self._models.register_model(candidate, decision=decision, tags=tags)

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        """See `Platform.set_alias`."""
        self._models.set_alias(model, alias)

    # ---- all endpoints, for the command line

    def start_all(self, names: Collection[str] | None = None) -> list[str]:
        """Bring every endpoint (of those named) up; one line for each that could not be, or not wholly.

        What runs already gets the connections of today.
        """
        problems: list[str] = []
        for folder in endpoint_folders(self._state):
            if names is not None and folder.name not in names:
                continue
            try:
                problems += self._wake(folder)
            except SluiceError as error:
                problems.append(f"{folder.name}: {error}")
        return problems

    # ---- how

    @cached_property
    def _models(self) -> Models:
        if self._given_models is not None:
            return self._given_models
        from orchestration.platforms.local.registry import LocalRegistry  # noqa: PLC0415 - imports MLflow: seconds

        return LocalRegistry(self._state)

    def _folder(self, endpoint: str) -> EndpointFolder:
        return EndpointFolder.of(self._state, check_name(Endpoint.kind, endpoint))

    def _desired(self, endpoint: str) -> DesiredEndpoint:
        desired = self._folder(endpoint).load()
        if desired is None:
            raise ResourceNotFound(f"There is no endpoint {endpoint}.", cure="Next: sluice run")
        return desired

    def _ask(self, endpoint: str, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return ask(self._desired(endpoint).socket, method, path, body, **query)

    def _create_endpoint(self, endpoint: Endpoint) -> None:
        folder = self._folder(endpoint.name)
        tags = {OWNER_TAG: "", **endpoint.tags}
        with starting(folder):
            make_way(folder)
            present = folder.load()
            if present is None:
                folder.create(DesiredEndpoint(endpoint.name, tags, host=self._host))
            else:
                check_owned(f"endpoint {endpoint.name}", present.tags)
            self._bring_up.wake(folder)
        self._ask(endpoint.name, "PUT", "/tags", tags)
        self._bring_up.supply(folder)

    def _wake(self, folder: EndpointFolder) -> list[str]:
        with starting(folder):
            make_way(folder)
            if folder.load() is None:
                return []  # its deletion had not been finished
            self._bring_up.wake(folder)
        waiting, kept = self._bring_up.supply(folder)
        for line in kept:
            _log.warning("It keeps the connections that it has: %s", line)
        return waiting

    @property
    def _bring_up(self) -> BringUp:
        return BringUp(self._port, self._limits, self._upstreams, self._runtimes)

    def _create_deployment(self, wanted: OnlineDeployment) -> None:
        check_name(OnlineDeployment.kind, wanted.name)
        self._models.verify(wanted.model)
        flow = str(self._models.folder(wanted.model))
        spec = ServerSpec(flow, str(wanted.runtime), wanted.variant, wanted.model, wanted.binding)
        body = {
            "spec": as_json(spec),
            "tags": {OWNER_TAG: "", **wanted.tags},
            "connections": to_wire(self._upstreams(wanted.binding)),
        }
        self._ask(wanted.endpoint, "PUT", f"/deployments/{wanted.name}", body)

    def _delete_endpoint(self, folder: EndpointFolder) -> None:
        with starting(folder):
            try:
                desired = folder.load()
            except ResourceDamaged:
                stop_gateway(folder, limits=self._limits)
                folder.remove()
                return
            if desired is None:
                stop_gateway(folder, limits=self._limits)  # its endpoint was removed by hand
                return
            check_owned(f"endpoint {folder.name}", desired.tags)
            if live_gateway(folder) is None:
                folder.remove()
            else:
                ask(desired.socket, "DELETE", "/")

    def _delete_deployment(self, folder: EndpointFolder, name: str) -> None:
        with starting(folder):
            desired = folder.load()
            if desired is None or name not in desired.deployments:
                return
            if live_gateway(folder) is None:
                folder.save(dismiss(desired, name).without(name))
                shutil.rmtree(folder.deployment(name), ignore_errors=True)
            else:
                ask(desired.socket, "DELETE", f"/deployments/{name}")
