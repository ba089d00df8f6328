"""Rolling a registered version out: a new online deployment at 0 %, proven, then traffic in steps.

Every step reads the platform anew and does only what is missing, so a killed rollout is simply run again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from orchestration.errors import (
    EndpointHeld,
    PlatformConflict,
    PlatformError,
    PlatformUnavailable,
    ProvisioningFailed,
    ResourceNotFound,
)
from orchestration.platforms import open_platform
from orchestration.platforms.base import (
    DELETING,
    FAILED,
    RUNTIME_TAG,
    SUCCEEDED,
    Answer,
    Endpoint,
    OnlineDeployment,
    RoleAssignment,
)
from orchestration.polling import REAL, Clock, every, wait_until
from orchestration.steps.evaluate import Judged
from orchestration.steps.ledger import authorize, record_event
from orchestration.steps.serving import refuse_foreign
from orchestration.steps.stable import DEPLOYMENT, PROVEN, Green, give, remove, restore
from orchestration.steps.waiting import read_until, wait_for, wait_gone, when_free
from orchestration.steps.watching import failed, problem_of, watch
from orchestration.steps.work import Work, owner_tags
from orchestration.values import Json, ModelVersion, Traffic

AGAIN = "Run the same command again."
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a rollout ended: the live map, and when it was undone why, with the deployment's last lines."""

    endpoint: str
    url: str
    traffic: Traffic
    deployment: str
    seconds: float = 0.0
    problem: str = ""
    logs: str = ""


@contextmanager
def hold(work: Work, *, clock: Clock = REAL) -> Iterator[None]:
    """The endpoint's lock: a second release waits its turn, up to `rollout.hold_seconds`, and says for whom."""
    platform = open_platform(work.settings)
    with ExitStack() as stack:

        def entered() -> bool | None:
            try:
                stack.enter_context(platform.hold(work.endpoint, owner=work.label))
            except EndpointHeld as error:
                if held[0] != error.message:  # said once for each holder
                    held[0] = error.message
                    _log.warning("Waiting up to %g s: %s", work.settings.rollout.hold_seconds, error.message)
                return None
            return True

        held = [""]
        wait_until(
            entered,
            what=f"The lock of endpoint {work.endpoint}",
            timeout_seconds=work.settings.rollout.hold_seconds,
            wait=every(1),
            clock=clock,
            last=lambda: held[0],
        )
        yield


def ensure_endpoint(work: Work, *, clock: Clock = REAL) -> str:
    """Create the endpoint, or bring it back, and wait until it answers; returns its name."""
    refuse_foreign(work)
    platform, name = open_platform(work.settings), work.endpoint
    wanted = Endpoint(name, tags=owner_tags(work))
    when_free(work, Endpoint.kind, lambda: platform.create(wanted), what=f"Endpoint {name}", clock=clock)
    wait_for(work, Endpoint.kind, name, clock=clock)
    return name


def grant_access(work: Work, *, clock: Clock = REAL) -> list[str]:
    """Let the endpoint's identity read what its deployments start with, before the first one; the scopes."""
    platform, kind = open_platform(work.settings), RoleAssignment.kind
    what = f"The access of endpoint {work.endpoint}"

    def needed() -> Sequence[RoleAssignment]:
        try:
            return platform.access(work.endpoint)
        except ResourceNotFound as error:  # it was there a moment ago, and not every reading knows that yet
            raise PlatformConflict(error.message, cure=error.cure) from error

    roles = when_free(work, kind, needed, what=what, clock=clock)
    for role in roles:
        when_free(work, kind, partial(platform.create, role), what=what, clock=clock)
    return [role.scope for role in roles]


def render_deployment(work: Work, green: Green, judged: Judged, model: ModelVersion) -> dict[str, Json]:
    """What will be sent for the new online deployment, for people to read; there is no secret in it."""
    return open_platform(work.settings).render(_wanted(work, green, judged, model))


def create_deployment(work: Work, green: Green, judged: Judged, model: ModelVersion, *, clock: Clock = REAL) -> None:
    """Start the new online deployment at 0 %; one that failed earlier, or is being removed, is made anew."""
    authorize(work, judged)
    platform, name = open_platform(work.settings), green.name
    found = platform.get(DEPLOYMENT, name, endpoint=work.endpoint)
    if found is not None and found.state in FAILED:
        remove(work, name, clock=clock)
    if found is not None and found.state in {*FAILED, DELETING}:
        wait_gone(work, DEPLOYMENT, name, endpoint=work.endpoint, clock=clock)
        found = None
    proven = {PROVEN: found.tags[PROVEN]} if found is not None and PROVEN in found.tags and name in green.before else {}
    wanted = _wanted(work, green, judged, model, proven)
    when_free(work, DEPLOYMENT, lambda: platform.create(wanted), what=f"Online deployment {name}", clock=clock)


def _wanted(
    work: Work, green: Green, judged: Judged, model: ModelVersion, tags: Mapping[str, str] | None = None
) -> OnlineDeployment:
    return OnlineDeployment(
        name=green.name,
        endpoint=work.endpoint,
        model=model,
        binding=work.binding,
        runtime=judged.runtimes.prompt_flow,
        variant=work.variant,
        tags=owner_tags(work) | deployment_tags(work, judged, model) | dict(tags or {}),
    )


def wait_for_deployment(work: Work, green: Green, *, clock: Clock = REAL) -> None:
    """Wait until the new online deployment is healthy. Raises `ProvisioningFailed` with its logs."""
    wait_for(work, DEPLOYMENT, green.name, endpoint=work.endpoint, clock=clock)


def smoke_test(work: Work, green: Green) -> Answer:
    """Send the sample request to the new online deployment and assert the shape of its answer."""
    platform, sample = open_platform(work.settings), work.spec.sample
    answer = platform.invoke(work.endpoint, sample.inputs, deployment=green.name)
    problem = problem_of(answer, sample.answer, expected=green.name)
    if problem:
        raise failed(work, green, f"The smoke test of {green.name} failed: {problem}.")
    return answer


def steps(work: Work, green: Green) -> tuple[int, ...]:
    """The percentages to go through; all of it at once where it has that already, or nothing shares the traffic."""
    alone = not set(green.before) - {green.name}
    return (100,) if alone or green.resumed else work.settings.rollout.steps


def shift_traffic(work: Work, green: Green, judged: Judged, weight: int, *, clock: Clock = REAL) -> Traffic:
    """Give `weight` % to the new online deployment, the rest to the one before, and watch it serve."""
    platform = open_platform(work.settings)
    since = time.time()
    live = platform.traffic(work.endpoint)
    wanted = _mixed(green, weight)
    if live.weights != wanted:
        live = _give(work, green, wanted, clock=clock)
    record_event(work, judged, "traffic", {"endpoint": work.endpoint, "weights": dict(wanted)})
    watch(work, green, weight, since=since, clock=clock)
    return live


def _give(work: Work, green: Green, wanted: Mapping[str, int], *, clock: Clock) -> Traffic:
    others = {name: weight for name, weight in wanted.items() if name != green.name}
    given = give(work, wanted, earlier=green.before, needs=others, clock=clock)
    if given is None:
        message = f"{', '.join(others)} can't serve any more, so {green.name} has nothing to share with."
        raise PlatformError(message, cure=AGAIN)
    return given


def roll_back(work: Work, green: Green, judged: Judged, error: PlatformError, *, clock: Clock = REAL) -> Rollout:
    """Undo a rollout: traffic as it was, the new deployment gone, the reason kept as a release event.

    Raises `PlatformError` with both reasons if it can't be undone.
    """
    logs = error.logs if isinstance(error, ProvisioningFailed) else ""
    try:
        traffic = restore(work, green, clock=clock)
    except PlatformUnavailable:
        raise  # it is tried again
    except PlatformError as second:
        raise PlatformError(f"{error.message} It could not be undone: {second.message}", cure=second.cure) from error
    detail: dict[str, Json] = {"problem": error.message, "logs": logs, "traffic": dict(traffic.weights)}
    record_event(work, judged, "rolled-back", detail)
    return Rollout(work.endpoint, _url(work), traffic, green.name, problem=error.message, logs=logs)


def check_deployment(work: Work, green: Green, *, clock: Clock = REAL) -> None:
    """Whatever has traffic must be healthy, and the new online deployment must have all of it. Raises `PlatformError`."""
    platform = open_platform(work.settings)

    def weights() -> dict[str, int]:
        return {name: weight for name, weight in platform.traffic(work.endpoint).weights.items() if weight}

    live = read_until(work, Endpoint.kind, weights, lambda found: found == {green.name: 100}, clock=clock)
    if live != {green.name: 100}:
        message = f"Endpoint {work.endpoint} does not give {green.name} all of its traffic: {live}."
        raise PlatformError(message, cure=AGAIN)
    read = partial(platform.get, DEPLOYMENT, green.name, endpoint=work.endpoint)
    found = read_until(work, DEPLOYMENT, read, lambda each: each is not None and each.state == SUCCEEDED, clock=clock)
    if found is None or found.state != SUCCEEDED:
        raise failed(work, green, f"{green.name} is {found.state if found else 'gone'} with all of the traffic.")


def finish(work: Work, green: Green, judged: Judged, *, clock: Clock = REAL) -> Rollout:
    """Note the release, then mark the online deployment as proven: only that makes the next run leave it alone."""
    platform = open_platform(work.settings)
    traffic = platform.traffic(work.endpoint)
    record_event(work, judged, "released", {"deployment": green.name, "traffic": dict(traffic.weights)})
    now = datetime.now(UTC).isoformat(timespec="seconds")
    tag = partial(platform.tag, DEPLOYMENT, green.name, {PROVEN: now}, endpoint=work.endpoint)
    when_free(work, DEPLOYMENT, tag, what=f"Online deployment {green.name}", clock=clock)
    return Rollout(work.endpoint, _url(work), traffic, green.name)


def remove_old(work: Work, green: Green, *, clock: Clock = REAL) -> list[str]:
    """Remove online deployments without traffic, but with `rollout.keep` not the one that a rollback goes to."""
    platform = open_platform(work.settings)
    live = platform.traffic(work.endpoint)
    previous = live.previous if work.settings.rollout.keep else {}
    kept = {*live.weights, *previous, green.name}
    idle = [f.name for f in platform.owned(DEPLOYMENT, endpoint=work.endpoint) if f.name not in kept]
    for name in idle:
        remove(work, name, clock=clock)
    return idle


def deployment_tags(work: Work, judged: Judged, model: ModelVersion) -> dict[str, str]:
    """What a later run reads to know whether exactly this already serves, and by which decision."""
    return {
        "content": work.candidate.content_hash,
        "binding": work.binding.binding_hash,
        "commit": work.candidate.commit,
        "model": f"{model.name}:{model.version}",
        "decision": judged.decision.sha256,
        "run": judged.run_id,
        "basis": judged.basis,
        RUNTIME_TAG: str(judged.runtimes.prompt_flow),
    }


def _mixed(green: Green, weight: int) -> dict[str, int]:
    """`weight` for the new one, the rest to the stable one; all of it when there is nothing before."""
    rest = [name for name in green.before if name != green.name]
    if not rest or weight == 100:
        return {green.name: 100}
    return {rest[0]: 100 - weight, green.name: weight}


def _url(work: Work) -> str:
    return open_platform(work.settings).url(work.endpoint)
