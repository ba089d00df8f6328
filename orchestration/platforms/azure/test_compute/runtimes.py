"""Runtimes of prompt flow's service on compute instances: ready only if the service says so of this very runtime.

Its answers have no word for ready: a runtime is ready when its status is null or absent, and an error has no status
either. So the answer must be one of success, and name the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from orchestration.errors import PlatformUnavailable, ResourceNotFound, ResourceRefused
from orchestration.platforms.azure.errors import sent, translated
from orchestration.platforms.azure.faults import one_line
from orchestration.platforms.azure.test_compute.instances import Instances
from orchestration.platforms.azure.test_compute.ownership import is_made
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.base import SUCCEEDED, Found
from orchestration.platforms.names import RUN
from orchestration.platforms.places import InstanceRuntime

NOT_EXIST, FAILED = "NotExist", "Failed"


class Runtimes:
    """The runtimes of one workspace."""

    def __init__(self, session: Session, instances: Instances) -> None:
        self._session, self._instances = session, instances

    def create(self, wanted: InstanceRuntime) -> None:
        """Ask for it; the service then works on it. One on the same instance is adopted, another is refused."""
        present = self._read(wanted.name)
        if present is not None:
            _check_instance(wanted, present)
            return

        def write() -> None:
            with translated(f"create the runtime {wanted.name}"):
                body = {"runtimeType": "ComputeInstance", "computeInstanceName": wanted.instance}
                self._session.regional("POST", self._path(wanted.name), body=body, asyncCall="true")

        sent(write, landed=lambda: self._read(wanted.name) is not None)

    def get(self, name: str) -> Found | None:
        """How it stands; None if the service has none of that name. Raises `PlatformUnavailable` for any other answer."""
        found = self._read(name)
        return None if found is None else _found(name, found)

    def delete(self, name: str) -> None:
        """Remove it; absent is done. Raises `ResourceRefused` unless it is on an instance of a run of ours."""
        present = self._read(name)
        if present is None:
            return
        self._check_ours(name, present)

        def write() -> None:
            with suppress(ResourceNotFound), translated(f"delete the runtime {name}"):
                self._session.regional("DELETE", self._path(name), asyncCall="true")

        sent(write, landed=lambda: self._read(name) is None)

    def owned(self) -> Sequence[Found]:
        """Those on the instances that runs of ours made: they are named alike."""
        names = [each.name for each in self._instances.owned()]
        return [found for name in names if (found := self.get(name)) is not None]

    def _read(self, name: str) -> Mapping[str, Any] | None:
        """The service's record of it. What is neither that nor a clear no is an error, and never a runtime."""
        what = f"read the runtime {name}"
        try:
            with translated(what):
                found = self._session.regional("GET", self._path(name))
        except ResourceNotFound:
            self._session.details()
            return None
        if not isinstance(found, Mapping) or found.get("runtimeName") != name:
            raise PlatformUnavailable(f"Azure did not {what}: its answer names no such runtime.")
        return None if found.get("status") == NOT_EXIST else found

    def _check_ours(self, name: str, found: Mapping[str, Any]) -> None:
        """It is ours by its instance; where that is gone, by the name that only runs give, on an instance of that name."""
        instance = self._instances.get(name)
        ours = RUN.fullmatch(name) if instance is None else is_made(instance.tags)
        if not ours or found.get("computeInstanceName") != name:
            raise ResourceRefused(f"The runtime {name} is not on an instance of a run: it is not ours to remove.")

    def _path(self, name: str) -> str:
        return f"/flow/api{self._session.workspace.arm_id}/FlowRuntimes/{name}"


def _check_instance(wanted: InstanceRuntime, found: Mapping[str, Any]) -> None:
    if found.get("computeInstanceName") != wanted.instance:
        raise ResourceRefused(
            f"The runtime {wanted.name} exists and is on {found.get('computeInstanceName') or 'no instance'}: it is not ours."
        )


def _found(name: str, found: Mapping[str, Any]) -> Found:
    status = found.get("status")
    state = SUCCEEDED if status is None else str(status)
    message = _reason(found) if state == FAILED else ""
    return Found(InstanceRuntime.kind, name, state, message, {"instance": str(found.get("computeInstanceName") or "")})


def _reason(found: Mapping[str, Any]) -> str:
    """Why it failed, in the service's words."""
    error = found.get("error")
    said = found.get("statusMessage") or (error.get("message") if isinstance(error, Mapping) else error)
    return one_line(said or "The service gives no reason.")
