"""The traffic that a rollout starts from and goes back to: a map of one online deployment that is proven and can serve.

Proven is what carries the tag `PROVEN`: it had all of the traffic, was watched in that, and was released.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from orchestration.errors import (
    PlatformConflict,
    PlatformError,
    PlatformTimeout,
    ProvisioningFailed,
    ResourceNotFound,
)
from orchestration.platforms import open_platform
from orchestration.platforms.base import REMOVAL, STOPPED, SUCCEEDED, Endpoint, OnlineDeployment
from orchestration.platforms.names import deployment_name
from orchestration.polling import REAL, Clock
from orchestration.steps.waiting import poll, read_until, settled, wait_for, when_free
from orchestration.steps.work import Work, owner_tags
from orchestration.values import Traffic

DEPLOYMENT = OnlineDeployment.kind
PROVEN = "proven"
ATTEMPTS = 3  # to write a map while something else is in the way
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Green:
    """The online deployment that is being rolled out, the map to go back to, and the map before that.

    `resumed`: it has all of the traffic already, from a run that ended before it was proven.
    """

    name: str
    before: Mapping[str, int]
    earlier: Mapping[str, int]
    resumed: bool = False

    @classmethod
    def of(cls, work: Work, *, stable: Traffic) -> Green:
        """The release of `work` on an endpoint whose traffic is `stable`."""
        return cls(cls.name_of(work), stable.weights, stable.previous)

    @staticmethod
    def name_of(work: Work) -> str:
        """Named by what it serves and what that is bound to: the same release is the same deployment."""
        return deployment_name(work.candidate.content_hash, work.binding.binding_hash)


def settle(work: Work, *, clock: Clock = REAL) -> Green:
    """What the rollout starts from; the traffic that an interrupted one left goes back to where that began.

    Is it the very release whose last step was interrupted, only that step is repeated. Where nothing can serve
    that the traffic could go to, it is taken away, so that the new one can be proven.
    """
    name, live = Green.name_of(work), open_platform(work.settings).traffic(work.endpoint)
    if not live.weights:
        return Green.of(work, stable=live)
    proven, own = _is_proven(work, live.weights), live.weights == {name: 100}
    order = (live.weights, live.previous) if proven or own else (live.previous, live.weights)
    stable = next((weights for weights in order if is_stable(weights) and _serves(work, weights, clock=clock)), None)
    if stable is None:
        return Green.of(work, stable=_without_traffic(work, live, clock=clock))
    if own and not proven and stable == live.weights:
        back = live.previous if is_stable(live.previous) and _serves(work, live.previous, clock=clock) else {}
        return Green(name, back, {}, resumed=True)
    if stable == live.weights:
        return Green.of(work, stable=live)
    there = give(work, stable, earlier=way_back(work, stable), clock=clock) or _without_traffic(work, live, clock=clock)
    return Green.of(work, stable=there)


def restore(work: Work, green: Green, *, clock: Clock = REAL) -> Traffic:
    """Put the traffic back as it was, verify it, then remove the new online deployment.

    What it came from may have died meanwhile: then it goes to the one before, or to nobody.
    """
    platform = open_platform(work.settings)
    endpoint = platform.get(Endpoint.kind, work.endpoint)
    if endpoint is not None and endpoint.state == STOPPED:  # that may be why it is undone
        platform.create(Endpoint(work.endpoint, tags=owner_tags(work)))
    settled(work, clock=clock)
    live = platform.traffic(work.endpoint)
    if live.weights != green.before:
        live = _go_back(work, green, live, clock=clock)
    if green.name not in live.weights:
        remove(work, green.name, clock=clock)
    return live


def remove(work: Work, name: str, *, clock: Clock = REAL) -> None:
    """Begin to remove an online deployment, once nothing else is in the way."""
    platform = open_platform(work.settings)
    delete = partial(platform.delete, DEPLOYMENT, name, endpoint=work.endpoint)
    when_free(work, REMOVAL, delete, what=f"The removal of {name}", clock=clock)


def give(
    work: Work,
    weights: Mapping[str, int],
    *,
    earlier: Mapping[str, int],
    needs: Mapping[str, int] | None = None,
    clock: Clock = REAL,
) -> Traffic | None:
    """The traffic once it is given to `weights`, remembering `earlier`; None if what it needs can't serve.

    What it needs, by default all of the map, may just be started again and is waited for. While something else is in
    the way, all of that is looked at anew, a few times. Raises `PlatformError`.
    """
    platform, left, why = open_platform(work.settings), [ATTEMPTS], [""]

    def given() -> tuple[Traffic | None] | None:
        left[0] -= 1
        if not _serves(work, weights if needs is None else needs, clock=clock):
            return (None,)
        try:
            return (_put(work, platform.traffic(work.endpoint), weights, earlier=earlier, clock=clock),)
        except PlatformConflict as conflict:
            if not left[0]:
                raise
            why[0] = conflict.message
            return None

    what = f"The traffic of {work.endpoint}"
    return poll(work, Endpoint.kind, given, what=what, clock=clock, last=lambda: why[0])[0]


def way_back(work: Work, to: Mapping[str, int]) -> dict[str, int]:
    """Where a rollback goes once `to` is live: of the others that can serve, the one that was proven last.

    The map of an interrupted rollout remembers only what it came from, and not what was before that.
    """
    found = open_platform(work.settings).owned(DEPLOYMENT, endpoint=work.endpoint)
    others = [each for each in found if PROVEN in each.tags and each.state == SUCCEEDED and each.name not in to]
    latest = max(others, key=lambda each: each.tags[PROVEN], default=None)
    return {latest.name: 100} if latest else {}


def is_stable(weights: Mapping[str, int]) -> bool:
    """Whether one online deployment has all of the traffic."""
    return list(weights.values()) == [100]


def _shown(weights: Mapping[str, int]) -> str:
    """A map for people."""
    return ", ".join(f"{name} {weight} %" for name, weight in weights.items()) or "no traffic"


def _go_back(work: Work, green: Green, live: Traffic, *, clock: Clock) -> Traffic:
    earlier = {name: weight for name, weight in green.earlier.items() if name != green.name}
    if not green.before:
        return _put(work, live, {}, earlier=earlier, clock=clock)
    there = give(work, green.before, earlier=earlier, clock=clock)
    if there is None and earlier:
        there = give(work, earlier, earlier={}, clock=clock)
    return there or _without_traffic(work, live, clock=clock)


def _without_traffic(work: Work, live: Traffic, *, clock: Clock) -> Traffic:
    _log.warning(
        "Nothing proven can serve on endpoint %s: it gets no traffic until a release is proven.", live.endpoint
    )
    return _put(work, live, {}, earlier={}, clock=clock)


def _put(work: Work, live: Traffic, weights: Mapping[str, int], *, earlier: Mapping[str, int], clock: Clock) -> Traffic:
    """Write the map and read it back."""
    platform = open_platform(work.settings)
    settled(work, clock=clock)
    platform.set_traffic(work.endpoint, weights, generation=live.generation, previous=earlier)
    settled(work, clock=clock)
    read = partial(platform.traffic, work.endpoint)
    after = read_until(work, Endpoint.kind, read, lambda live: live.weights == weights, clock=clock)
    if after.weights != weights:
        raise PlatformError(
            f"Endpoint {work.endpoint} was given {_shown(weights)}, and shows {_shown(after.weights)}.",
            cure=f"Next: sluice status -e {work.settings.environment}",
        )
    return after


def _serves(work: Work, weights: Mapping[str, int], *, clock: Clock) -> bool:
    """Whether all of a map's online deployments can serve. After a kill of everything they may only be starting."""
    try:
        for name in weights:
            wait_for(work, DEPLOYMENT, name, endpoint=work.endpoint, clock=clock)
    except (ProvisioningFailed, PlatformTimeout, ResourceNotFound) as error:
        _log.warning("It can't take traffic: %s", error)
        return False
    return True


def _is_proven(work: Work, weights: Mapping[str, int]) -> bool:
    if not is_stable(weights):
        return False
    found = open_platform(work.settings).get(DEPLOYMENT, next(iter(weights)), endpoint=work.endpoint)
    return found is not None and PROVEN in found.tags
