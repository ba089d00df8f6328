"""What an endpoint should be: plain values, and the rules by which they may change. No I/O.

The gateway makes the machine follow these values; they are all that survives a reboot, so they hold
names and addresses but never a secret.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from orchestration.errors import ConfigurationError, PlatformConflict, ResourceNotFound, ResourceRefused
from orchestration.platforms.base import DELETING, OWNER_TAG, RUNTIME_TAG, SUCCEEDED
from orchestration.values import Binding, Json, ModelVersion, Traffic

CREATING, FAILED_STATE, UPDATING = "Creating", "Failed", "Updating"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What one server serves: `flow` is a folder, `runtime` an interpreter, both absolute paths."""

    flow: str
    runtime: str
    variant: str | None
    model: ModelVersion
    binding: Binding

    def same(self, other: ServerSpec) -> bool:
        """Whether both answer alike: content (its lock too), binding and variant, not where the files lie."""
        return self._identity() == other._identity()

    def _identity(self) -> tuple[str, str, str | None]:
        return (self.model.content_hash, self.binding.binding_hash, self.variant)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ServerSpec:
        """Restore what `as_json` made."""
        return cls(**{**data, "model": ModelVersion(**data["model"]), "binding": Binding(**data["binding"])})


@dataclass(frozen=True, slots=True)
class Deployment:
    """One online deployment. `state`: Creating, Succeeded (it has served once), Failed or Deleting."""

    name: str
    spec: ServerSpec
    tags: Mapping[str, str] = field(default_factory=dict)
    state: str = CREATING
    message: str = ""


@dataclass(frozen=True, slots=True)
class DesiredEndpoint:
    """One endpoint. `port` is the one it was bound to last (0: never); `socket` is the admin API's path."""

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 0
    socket: str = ""
    state: str = SUCCEEDED
    generation: int = 0
    weights: Mapping[str, int] = field(default_factory=dict)
    previous: Mapping[str, int] = field(default_factory=dict)
    deployments: Mapping[str, Deployment] = field(default_factory=dict)

    @property
    def traffic(self) -> Traffic:
        """The live map as the platform reports it."""
        return Traffic(self.name, dict(self.weights), dict(self.previous), self.generation)

    def deployment(self, name: str) -> Deployment:
        """Raises `ResourceNotFound`."""
        if name not in self.deployments:
            raise ResourceNotFound(f"The endpoint {self.name} has no online deployment {name}.")
        return self.deployments[name]

    def put(self, deployment: Deployment) -> DesiredEndpoint:
        """The endpoint with this online deployment in place of the one of the same name."""
        return replace(self, deployments={**self.deployments, deployment.name: deployment})

    def mark(self, name: str, state: str, message: str = "") -> DesiredEndpoint:
        """The endpoint with one online deployment in another state."""
        return self.put(replace(self.deployment(name), state=state, message=message))

    def moved(self, name: str, runtime: str) -> DesiredEndpoint:
        """The endpoint with one online deployment in another runtime: the same packages, built anew."""
        present = self.deployment(name)
        tags = {**present.tags, RUNTIME_TAG: runtime}
        return self.put(replace(present, spec=replace(present.spec, runtime=runtime), tags=tags))

    def without(self, name: str) -> DesiredEndpoint:
        """The endpoint without that online deployment; its weight was 0, so the traffic is the same."""
        return replace(
            self,
            deployments={k: d for k, d in self.deployments.items() if k != name},
            weights={k: weight for k, weight in self.weights.items() if k != name},
        )


def to_json(endpoint: DesiredEndpoint) -> dict[str, Json]:
    """The endpoint as plain JSON data."""
    return {"format": FORMAT, **asdict(endpoint)}


def from_json(data: Mapping[str, Any]) -> DesiredEndpoint:
    """Restore what `to_json` made. Raises `ValueError` for another format."""
    if data.get("format") != FORMAT:
        raise ValueError(f"format {data.get('format')!r} is not {FORMAT}")
    fields = {k: v for k, v in data.items() if k != "format"}
    deployments = {
        name: Deployment(**{**d, "spec": ServerSpec.from_json(d["spec"])}) for name, d in fields["deployments"].items()
    }
    return DesiredEndpoint(**{**fields, "deployments": deployments})


def check_owned(what: str, tags: Mapping[str, str]) -> None:
    """Raise `ResourceRefused` for what carries no tag of ours."""
    if OWNER_TAG not in tags:
        raise ResourceRefused(
            f"The {what} exists and carries no tag {OWNER_TAG!r}: it is not ours to change.",
            cure="Choose another name, or remove it by hand.",
        )


def admit(endpoint: DesiredEndpoint, wanted: Deployment) -> DesiredEndpoint:
    """The endpoint with `wanted`: new, adopted, or once more if it had failed.

    What is adopted gets the new tags, and the new paths from its next start on: a runtime may have been built anew.

    Raises `PlatformConflict` while anything in the way is being deleted, `ResourceRefused` if the name
    is taken by something else.
    """
    _check_stays(f"endpoint {endpoint.name}", endpoint.state)
    present = endpoint.deployments.get(wanted.name)
    if present is None:
        return endpoint.put(wanted)
    what = f"online deployment {endpoint.name}/{wanted.name}"
    check_owned(what, present.tags)
    _check_stays(what, present.state)
    if not present.spec.same(wanted.spec):
        raise ResourceRefused(f"The {what} serves something else.", cure="Delete it first, or use another name.")
    state = CREATING if present.state == FAILED_STATE else present.state
    return endpoint.put(replace(wanted, state=state))


def tagged(endpoint: DesiredEndpoint, tags: Mapping[str, str], deployment: str = "") -> DesiredEndpoint:
    """The endpoint with tags merged into its own, or into those of one online deployment.

    Raises `ResourceNotFound`, `ResourceRefused` if it is not ours, `PlatformConflict` if it is being deleted.
    """
    if not deployment:
        check_owned(f"endpoint {endpoint.name}", endpoint.tags)
        _check_stays(f"endpoint {endpoint.name}", endpoint.state)
        return replace(endpoint, tags={**endpoint.tags, **tags})
    present, what = endpoint.deployment(deployment), f"online deployment {endpoint.name}/{deployment}"
    check_owned(what, present.tags)
    _check_stays(what, present.state)
    return endpoint.put(replace(present, tags={**present.tags, **tags}))


def dismiss(endpoint: DesiredEndpoint, name: str) -> DesiredEndpoint:
    """The endpoint with that online deployment marked for removal.

    Raises `ResourceNotFound`, `ResourceRefused` if it is not ours, `PlatformConflict` if it has traffic.
    """
    present = endpoint.deployment(name)
    what = f"online deployment {endpoint.name}/{name}"
    check_owned(what, present.tags)
    if endpoint.weights.get(name, 0) > 0:
        raise PlatformConflict(f"The {what} has {endpoint.weights[name]} % of the traffic.", cure="Move it first.")
    return endpoint.mark(name, DELETING)


def change_traffic(
    endpoint: DesiredEndpoint,
    weights: Mapping[str, int],
    *,
    generation: int,
    healthy: Container[str],
    previous: Mapping[str, int] | None = None,
) -> DesiredEndpoint:
    """The endpoint with another traffic map and `previous` (by default the present one) as the previous.

    The map that is live already changes nothing, so a repeated write keeps the previous map. Raises
    `ConfigurationError` for weights that are no whole numbers from 0 to 100 or do not sum to 0 or 100,
    `PlatformConflict` for another generation than the live one or a weight on what is not healthy.
    """
    _check_weights(endpoint.name, weights)
    _check_stays(f"endpoint {endpoint.name}", endpoint.state)
    if generation != endpoint.generation:
        raise PlatformConflict(
            f"The traffic of {endpoint.name} was changed meanwhile: generation {endpoint.generation}, not {generation}."
        )
    for name, weight in weights.items():
        if name not in endpoint.deployments:
            raise PlatformConflict(f"The endpoint {endpoint.name} has no online deployment {name}.")
        if weight > 0 and name not in healthy:
            raise PlatformConflict(f"The online deployment {endpoint.name}/{name} is not healthy: no traffic for it.")
    if dict(weights) == dict(endpoint.weights):
        return endpoint
    before = endpoint.weights if previous is None else previous
    return replace(endpoint, weights=dict(weights), previous=dict(before), generation=generation + 1)


def _check_stays(what: str, state: str) -> None:
    if state == DELETING:
        raise PlatformConflict(f"The {what} is being deleted.")


def _check_weights(endpoint: str, weights: Mapping[str, int]) -> None:
    whole = all(type(weight) is int and 0 <= weight <= 100 for weight in weights.values())
    if not whole or sum(weights.values()) not in (0, 100):
        raise ConfigurationError(
            f"The traffic {dict(weights)} for {endpoint} is not valid: whole numbers that sum to 100, or all 0."
        )
