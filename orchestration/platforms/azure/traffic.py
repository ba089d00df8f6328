"""Traffic: the live map stands in the endpoint, what it replaced and its generation in the endpoint's tags.

One write changes all three, so that whoever reads the endpoint after a crash knows the way back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestration.errors import ConfigurationError, PlatformConflict, ResourceDamaged
from orchestration.platforms.azure.deployments import Deployments
from orchestration.platforms.azure.endpoints import Endpoints, state, weights_of
from orchestration.platforms.azure.faults import AGAIN
from orchestration.platforms.azure.resources import check_owned, check_settled
from orchestration.platforms.base import SUCCEEDED
from orchestration.values import Traffic

PREVIOUS, GENERATION = "previous", "generation"  # tags of an endpoint


def traffic_of(entity: Any) -> Traffic:
    """The traffic of an endpoint. Raises `ResourceDamaged` if somebody broke its tags."""
    tags = entity.tags or {}
    try:
        previous = {str(name): int(weight) for name, weight in json.loads(tags.get(PREVIOUS, "{}")).items()}
        generation = int(tags.get(GENERATION, "0"))
    except (ValueError, TypeError, AttributeError) as error:
        raise ResourceDamaged(
            f"The tags {PREVIOUS} and {GENERATION} of the endpoint {entity.name} can't be read.",
            cure=f"Set them to what was before, or to {{}} and 0: az ml online-endpoint update -n {entity.name}",
        ) from error
    return Traffic(entity.name, weights_of(entity), previous, generation)


def set_traffic(
    endpoints: Endpoints,
    deployments: Deployments,
    name: str,
    weights: Mapping[str, int],
    *,
    generation: int,
    previous: Mapping[str, int] | None,
) -> Traffic:
    """Start to replace the map; `get` of the endpoint says when it is in force. See `Platform.set_traffic`.

    The map that is live already is not written again, so that a repeated write keeps the previous one.
    """
    check_weights(name, weights)
    entity = endpoints.need(name)
    check_owned(f"endpoint {name}", entity.tags)
    live, wanted = traffic_of(entity), {each: weight for each, weight in weights.items() if weight}
    if generation != live.generation:
        raise PlatformConflict(
            f"The traffic of {name} was changed meanwhile: generation {live.generation}, not {generation}.", cure=AGAIN
        )
    if wanted == live.weights:
        return live
    check_settled(f"endpoint {name}", state(entity))
    _check_healthy(deployments, name, weights)
    before = live.weights if previous is None else previous
    entity.traffic = wanted
    entity.tags = {
        **entity.tags,
        PREVIOUS: json.dumps(dict(before), separators=(",", ":")),
        GENERATION: str(generation + 1),
    }
    endpoints.put(entity)
    return Traffic(name, wanted, dict(before), generation + 1)


def check_weights(endpoint: str, weights: Mapping[str, int]) -> None:
    """Raises `ConfigurationError` unless they are whole numbers from 0 to 100 that sum to 0 or 100."""
    whole = all(type(weight) is int and 0 <= weight <= 100 for weight in weights.values())
    if not whole or sum(weights.values()) not in (0, 100):
        raise ConfigurationError(
            f"The traffic {dict(weights)} for {endpoint} is not valid: whole numbers that sum to 100, or all 0."
        )


def _check_healthy(deployments: Deployments, endpoint: str, weights: Mapping[str, int]) -> None:
    for name, weight in weights.items():
        found = deployments.read(name, endpoint)
        if found is None:
            raise PlatformConflict(f"The endpoint {endpoint} has no online deployment {name}.", cure=AGAIN)
        if weight > 0 and state(found) != SUCCEEDED:
            message = f"The online deployment {endpoint}/{name} is {state(found)}: no traffic for it."
            raise PlatformConflict(message, cure=AGAIN)
