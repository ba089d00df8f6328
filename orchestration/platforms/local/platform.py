"""The platform on one machine: an MLflow registry, and one gateway process per endpoint."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from orchestration.errors import ConfigurationError, PlatformConflict, ResourceNotFound, SluiceError
from orchestration.platforms.base import OWNER_TAG, Answer, Endpoint, Found, Load, OnlineDeployment, Resource
from orchestration.platforms.local.admin_client import ask
from orchestration.platforms.local.connections import Connections, to_wire
from orchestration.platforms.local.desired import (
    DELETING,
    DesiredEndpoint,
    ServerSpec,
    check_owned,
    dismiss,
)
from orchestration.platforms.local.folder import EndpointFolder, endpoint_folders
from orchestration.platforms.local.hold import held
from orchestration.platforms.local.invoke import Caller
from orchestration.platforms.local.launch import ensure_gateway, live_gateway, starting
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.server_log import last_lines
from orchestration.platforms.local.snapshot import running, snapshot
from orchestration.platforms.names import check_name
from orchestration.values import Binding, Candidate, Json, ModelVersion, Traffic, as_json


class Models(Protocol):
    """The registry that a platform composes: `registry.LocalRegistry`, unless another is given."""

    def find_model(self, prompt_flow: str, content_hash: str) -> ModelVersion | None:
        """See `Platform.find_model`."""

    def register_model(self, candidate: Candidate, *, decision: str, tags: Mapping[str, str]) -> ModelVersion:
        """See `Platform.register_model`."""

    def set_alias(self, model: ModelVersion, alias: str) -> None:
        """See `Platform.set_alias`."""

    def folder(self, model: ModelVersion) -> Path:
        """The prompt flow's files."""

    def verify(self, model: ModelVersion) -> None:
        """Raises a `PlatformError` if it is not registered, or its files are not what was registered."""


class LocalPlatform:
    """Implements `platforms.base.Platform` below the folder `state`.

    `upstreams` resolves a binding's connections to what they need, secrets included; it is called when a
    deployment is created and when a gateway that was started again asks for them. `port` 0: any free one.
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
    ) -> None:
        self._state, self._host, self._port = state.absolute(), host, port
        self._upstreams, self._limits = upstreams, limits or Limits()
        self._given_models = models
        self._caller = Caller()

    # ---- resources

    def create(self, resource: Resource) -> None:
        """See `Platform.create`. An endpoint's gateway that does not run is started, with its port and traffic."""
        if isinstance(resource, Endpoint):
            self._create_endpoint(resource)
        else:
            self._create_deployment(resource)

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

    def owned(self, kind: str, *, endpoint: str = "") -> Sequence[Found]:
        """See `Platform.owned`. Online deployments of one endpoint, or of all if none is named."""
        every = [s for s in running(self._state) if endpoint in ("", s.desired.name)]
        found = (
            [s.endpoint for s in every] if kind == Endpoint.kind else [d for s in every for d in s.deployments.values()]
        )
        return [resource for resource in found if OWNER_TAG in resource.tags]

    def logs(self, kind: str, name: str, *, endpoint: str = "", lines: int = 50) -> str:
        """See `Platform.logs`; also of what no longer runs."""
        if kind == Endpoint.kind:
            return last_lines(self._folder(name).log, lines)
        return last_lines(self._folder(endpoint).server_log(name), lines)

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
        """Start every endpoint (of those named) that does not run; one line for each that could not be, or not wholly."""
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
            raise ResourceNotFound(f"There is no endpoint {endpoint}.")
        return desired

    def _ask(self, endpoint: str, method: str, path: str, body: Any = None, **query: Any) -> Any:
        return ask(self._desired(endpoint).socket, method, path, body, **query)

    def _create_endpoint(self, endpoint: Endpoint) -> None:
        folder = self._folder(endpoint.name)
        tags = {OWNER_TAG: "", **endpoint.tags}
        with starting(folder):
            _make_way(folder)
            present = folder.load()
            if present is None:
                folder.create(DesiredEndpoint(endpoint.name, tags, host=self._host))
            else:
                check_owned(f"endpoint {endpoint.name}", present.tags)
            ensure_gateway(folder, port=self._port, limits=self._limits)
        self._ask(endpoint.name, "PUT", "/tags", tags)
        self._supply(folder)

    def _wake(self, folder: EndpointFolder) -> list[str]:
        with starting(folder):
            _make_way(folder)
            if folder.load() is None:
                return []  # its deletion had not been finished
            ensure_gateway(folder, port=self._port, limits=self._limits)
        return self._supply(folder)

    def _supply(self, folder: EndpointFolder) -> list[str]:
        # Secrets are on no disk, so a gateway that was started again needs them from us. One deployment whose
        # connections can't be resolved any more must not keep the others, or a new release, from being served.
        found = snapshot(folder)
        problems: list[str] = []
        for name in found.waiting if found else ():
            try:
                self._supply_one(folder.name, name)
            except (ConfigurationError, ResourceNotFound, PlatformConflict) as error:
                problems.append(f"{folder.name}/{name}: {error}")
        return problems

    def _supply_one(self, endpoint: str, name: str) -> None:
        binding = self._desired(endpoint).deployment(name).spec.binding
        self._ask(endpoint, "PUT", f"/deployments/{name}/connections", to_wire(self._upstreams(binding)))

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
            desired = folder.load()
            if desired is None:
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


def _make_way(folder: EndpointFolder) -> None:
    # A deletion whose gateway was killed is finished here; one under way has to be waited for.
    desired = folder.load()
    if desired is None or desired.state != DELETING:
        return
    if live_gateway(folder) is not None:
        raise PlatformConflict(f"The endpoint {folder.name} is being deleted.")
    folder.remove()
