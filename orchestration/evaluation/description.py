"""What a runner says of the flow that it has opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.errors import RunnerFailed
from orchestration.values import Json

PROTOCOL = 1


@dataclass(frozen=True, slots=True)
class Description:
    """The `ready` message: inputs by name (`{type, default?}`), outputs by name (empty: not declared)."""

    framework: str
    kind: str
    inputs: Mapping[str, Mapping[str, Json]]
    outputs: Mapping[str, Mapping[str, Json]]
    aggregation: bool

    @property
    def required(self) -> list[str]:
        """Inputs without a default."""
        return [name for name, spec in self.inputs.items() if "default" not in spec]


def read_description(message: Mapping[str, Any]) -> Description:
    """The description in a `ready` message. Raises `RunnerFailed` for a runner of another protocol."""
    if message.get("protocol") != PROTOCOL:
        raise RunnerFailed(
            "Protocol", f"the runtime's runner speaks protocol {message.get('protocol')}, not {PROTOCOL}."
        )
    try:
        return Description(
            framework=str(message["framework"]),
            kind=str(message["kind"]),
            inputs=dict(message["inputs"]),
            outputs=dict(message["outputs"]),
            aggregation=bool(message["aggregation"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunnerFailed("Protocol", f"the runtime's runner sent an incomplete `ready` ({error!r}).") from None
