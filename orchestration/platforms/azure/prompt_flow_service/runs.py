"""Runs of prompt flow's service by names of our own: submitted once, looked at, read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestration.platforms.azure.errors import sent
from orchestration.platforms.azure.prompt_flow_service.client import Client
from orchestration.platforms.azure.workspace import open_session
from orchestration.platforms.places import RunOrder, RunState
from orchestration.polling import Clock
from orchestration.settings import Settings
from orchestration.values import Json


class Runs:
    """Implements `platforms.places.CloudRuns`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(self, order: RunOrder) -> None:
        """See `CloudRuns.submit`."""
        if self.state(order.name) is not None:
            return
        given = {**asdict(order), "flow": str(order.flow), "data": str(order.data)}

        def write() -> None:
            self._client.call(f"submit the run {order.name}", "submit", **given)

        sent(write, landed=lambda: self.state(order.name) is not None)

    def state(self, name: str) -> RunState | None:
        """See `CloudRuns.state`."""
        found = self._client.call(f"read the run {name}", "status", name=name)
        return None if found is None else RunState(found["state"], found["message"])

    def lines(self, name: str) -> Sequence[Mapping[str, Any]]:
        """See `CloudRuns.lines`."""
        found: list[Mapping[str, Any]] = self._client.call(f"read the results of the run {name}", "lines", name=name)
        return found

    def metrics(self, name: str) -> Mapping[str, Json]:
        """See `CloudRuns.metrics`."""
        found: Mapping[str, Json] = self._client.call(f"read the metrics of the run {name}", "metrics", name=name)
        return found

    def cancel(self, name: str) -> None:
        """See `CloudRuns.cancel`."""
        self._client.call(f"cancel the run {name}", "cancel", name=name)


@contextmanager
def opened(settings: Settings, python: Path, *, log: Path, clock: Clock) -> Iterator[Runs]:
    """The runs of the environment's workspace. `python` has `promptflow[azure]`."""
    with Client(python, open_session(settings, clock=clock), log) as client:
        yield Runs(client)
