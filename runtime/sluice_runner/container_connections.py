"""A container's connections: read from the workspace, models behind the container's own model proxy."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice_runner.azure.connections import Custom, Model, Patience, Unusable, read, understand
from sluice_runner.azure.identity import Identity
from sluice_runner.model_calls import Log, ModelCalls
from sluice_runner.redaction import Redactor


@dataclass(frozen=True, slots=True)
class Bound:
    """A connection of the workspace, and the model to call instead of the one that the prompt flow names."""

    connection: str
    model_deployment: str | None


class ContainerConnections:
    """The connections by the prompt flow's names, as `described` in the runner protocol; `redactor` hides their secrets.

    Raises `Unusable` if they can't be read within `seconds`. `sleep` returns True when there is no point in going on.
    """

    def __init__(
        self,
        workspace: str,
        bound: Mapping[str, Bound],
        identity: Identity,
        *,
        seconds: float,
        sleep: Callable[[float], object],
        log: Log,
    ) -> None:
        self._workspace, self._bound, self._identity = workspace, bound, identity
        self._sleep, self._log = sleep, log
        end = time.monotonic() + seconds  # for all of them: the liveness probe does not wait for each
        found = {name: self._read(name, end - time.monotonic()) for name in bound}
        models = {name: each for name, each in found.items() if isinstance(each, Model)}
        customs = {name: each for name, each in found.items() if isinstance(each, Custom)}
        self.described: dict[str, Any] = {name: _custom(each) for name, each in customs.items()}
        self._calls = ModelCalls(models, identity, log=log, renew=self._renewed) if models else None
        if self._calls is not None:
            self.described |= self._calls.start()
        keys = [each.key or "" for each in models.values()]
        self.redactor = Redactor([*keys, *(secret for each in customs.values() for secret in each.secrets.values())])

    def close(self) -> None:
        """Take no more model calls."""
        if self._calls is not None:
            self._calls.stop()

    def _read(self, name: str, seconds: float) -> Model | Custom:
        bound, patience = self._bound[name], Patience(seconds, self._sleep)
        properties = read(self._workspace, bound.connection, self._identity, patience=patience, log=self._log)
        return understand(bound.connection, properties, deployment=bound.model_deployment)

    def _renewed(self, name: str) -> Model | None:
        """The model's connection as it is now; None if it can't be read, which the log then says."""
        try:
            found = self._read(name, 0.0)
        except Unusable as error:
            self._log(str(error))
            return None
        return found if isinstance(found, Model) else None


def _custom(found: Custom) -> dict[str, Any]:
    return {"type": "custom", "values": dict(found.values), "secrets": dict(found.secrets)}
