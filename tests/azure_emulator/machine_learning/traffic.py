"""The rules for traffic, and who gets the next request. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping

MOST_MIRRORED = 50


def objection(traffic: Mapping[str, int], mirrored: Mapping[str, int], states: Mapping[str, str]) -> str | None:
    """Why this map is refused, or None. `states` are the provisioning states of the endpoint's deployments."""
    for share in (*traffic.values(), *mirrored.values()):
        if isinstance(share, bool) or not isinstance(share, int) or not 0 <= share <= 100:
            return f"Traffic values must be whole numbers from 0 to 100, not {share!r}."
    if sum(traffic.values()) not in {0, 100}:
        return f"Traffic values must sum to 0 or 100, but they sum to {sum(traffic.values())}."
    if sum(mirrored.values()) > MOST_MIRRORED:
        return f"Mirrored traffic must not exceed {MOST_MIRRORED} percent."
    if sum(share > 0 for share in mirrored.values()) > 1:
        return "Traffic can be mirrored to only one deployment."
    shares = {**{name: share for name, share in mirrored.items() if share}, **traffic}
    return _missing(shares, states) or _not_ready(shares, states)


def _missing(shares: Mapping[str, int], states: Mapping[str, str]) -> str | None:
    missing = sorted(set(shares) - set(states))
    return f"Deployment(s) not found in endpoint: {', '.join(missing)}." if missing else None


def _not_ready(shares: Mapping[str, int], states: Mapping[str, str]) -> str | None:
    waiting = {name: states[name] for name in sorted(shares) if shares[name] and states[name] != "Succeeded"}
    listed = ", ".join(f"{name} is in {state} provisioning state" for name, state in waiting.items())
    return f"Traffic can only be routed to deployments that are provisioned: {listed}." if waiting else None


def next_deployment(traffic: Mapping[str, int], chance: random.Random) -> str | None:
    """The deployment for one request; None if none has traffic."""
    names = [name for name, share in traffic.items() if share > 0]
    return chance.choices(names, weights=[traffic[name] for name in names])[0] if names else None


def mirror_of(mirrored: Mapping[str, int], chance: random.Random) -> str | None:
    """The deployment that gets a copy of one request, if one does."""
    name = next((name for name, share in mirrored.items() if share > 0), None)
    return name if name is not None and chance.random() * 100 < mirrored[name] else None
