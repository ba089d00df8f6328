"""A compute instance of one run as a place for its evaluation: four kinds of resources by one lifecycle.

What is started here goes on in Azure: nothing in this package waits. The steps do, by `get` and `patience`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestration.platforms.azure.test_compute.access import Access
from orchestration.platforms.azure.test_compute.identities import Identities
from orchestration.platforms.azure.test_compute.instances import Instances
from orchestration.platforms.azure.test_compute.runtimes import Runtimes
from orchestration.platforms.azure.workspace import open_session
from orchestration.platforms.base import REMOVAL, Found, Patience, RoleAssignment
from orchestration.platforms.places import ComputeInstance, InstanceRuntime, ManagedIdentity, PlaceResource
from orchestration.polling import REAL, Clock, every
from orchestration.settings import Settings
from orchestration.settings.azure_account import azure_section

IDENTITY, ROLE, INSTANCE, RUNTIME = (
    ManagedIdentity.kind,
    RoleAssignment.kind,
    ComputeInstance.kind,
    InstanceRuntime.kind,
)


class Kept(Protocol):
    """What all kinds have in common."""

    def get(self, name: str, /) -> Found | None:
        """How it stands."""

    def delete(self, name: str, /) -> None:
        """Remove it."""

    def owned(self) -> Sequence[Found]:
        """Those that runs of ours made."""


class InstancePlace:
    """Implements `platforms.places.EvaluationPlace` in the workspace that the settings name."""

    def __init__(self, settings: Settings, *, clock: Clock = REAL) -> None:
        session = open_session(settings, clock=clock)
        self._settings = settings
        self._identities = Identities(session)
        self._access = Access(session, self._identities)
        self._instances = Instances(session, self._identities)
        self._runtimes = Runtimes(session, self._instances)
        self._all: Mapping[str, Kept] = {
            IDENTITY: self._identities,
            ROLE: self._access,
            INSTANCE: self._instances,
            RUNTIME: self._runtimes,
        }

    def create(self, resource: PlaceResource) -> None:
        """See `EvaluationPlace.create`."""
        if isinstance(resource, ManagedIdentity):
            self._identities.create(resource)
        elif isinstance(resource, RoleAssignment):
            self._access.create(resource)
        elif isinstance(resource, ComputeInstance):
            self._instances.create(resource)
        else:
            self._runtimes.create(resource)

    def get(self, kind: str, name: str) -> Found | None:
        """See `EvaluationPlace.get`."""
        return self._all[kind].get(name)

    def delete(self, kind: str, name: str) -> None:
        """See `EvaluationPlace.delete`."""
        self._all[kind].delete(name)

    def owned(self, kind: str) -> Sequence[Found]:
        """See `EvaluationPlace.owned`."""
        return self._all[kind].owned()

    def access(self, identity: str) -> RoleAssignment:
        """See `EvaluationPlace.access`."""
        return self._access.wanted(identity)

    def patience(self, kind: str) -> Patience:
        """See `EvaluationPlace.patience`."""
        azure = azure_section(self._settings)
        own = azure.compute_instance.deadlines
        limits = {IDENTITY: azure.deadlines.access, ROLE: azure.deadlines.access, REMOVAL: azure.deadlines.removal}
        limits |= {INSTANCE: own.instance, RUNTIME: own.runtime}
        return Patience(limits[kind], every(azure.poll_seconds))
