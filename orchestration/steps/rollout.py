"""Rolling a registered version out: a new online deployment at 0 %, proven, then traffic in steps.

Every step reads the platform anew and does only what is missing, so a killed rollout is simply run again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from orchestration.errors import EndpointHeld, PlatformError, ProvisioningFailed, ResourceRefused
from orchestration.platforms import open_platform
from orchestration.platforms.base import FAILED, Answer, Endpoint, OnlineDeployment
from orchestration.platforms.names import deployment_name
from orchestration.polling import REAL, Clock, every, wait_until
from orchestration.steps.evaluate import Judged
from orchestration.steps.ledger import authorize, record_event
from orchestration.steps.sample import answer_problem
from orchestration.steps.waiting import wait_for, wait_gone
from orchestration.steps.work import Work, owner_tags
from orchestration.values import Json, ModelVersion, Traffic

DEPLOYMENT = OnlineDeployment.kind
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Green:
    """The online deployment that is being rolled out, the stable map it replaces, and the map before that."""

    name: str
    before: Mapping[str, int]
    earlier: Mapping[str, int]

    @classmethod
    def of(cls, work: Work, *, stable: Traffic) -> Green:
        """The release of `work` on an endpoint whose traffic is `stable`."""
        return cls(cls.name_of(work), stable.weights, stable.previous)

    @staticmethod
    def name_of(work: Work) -> str:
        """Named by what it serves and what that is bound to: the same release is the same deployment."""
        return deployment_name(work.candidate.content_hash, work.binding.binding_hash)


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
    platform, name = open_platform(work.settings), work.endpoint
    found, wanted = platform.get(Endpoint.kind, name), owner_tags(work)
    if found is not None and any(found.tags.get(tag) not in (None, value) for tag, value in wanted.items()):
        owner = f"{found.tags.get('prompt_flow')} in {found.tags.get('environment')}"
        cure = "Give each its own endpoint.name in config/, or none."
        raise ResourceRefused(f"Endpoint {name} belongs to {owner}.", cure=cure)
    platform.create(Endpoint(name, tags=owner_tags(work)))
    wait_for(work, Endpoint.kind, name, clock=clock)
    return name


def settle(work: Work, *, clock: Clock = REAL) -> Traffic:
    """The stable traffic. What an interrupted rollout left half shifted goes back to where it began."""
    platform = open_platform(work.settings)
    live = platform.traffic(work.endpoint)
    if _stable(live.weights):
        return live
    for name in live.previous:  # after a kill of everything they may only be starting
        wait_for(work, DEPLOYMENT, name, endpoint=work.endpoint, clock=clock)
    return platform.set_traffic(work.endpoint, live.previous, generation=live.generation, previous={})


def create_deployment(work: Work, green: Green, judged: Judged, model: ModelVersion) -> None:
    """Start the new online deployment at 0 %; one that failed earlier is made anew."""
    authorize(work, judged)
    platform, name = open_platform(work.settings), green.name
    found = platform.get(DEPLOYMENT, name, endpoint=work.endpoint)
    if found is not None and found.state in FAILED:
        live = platform.traffic(work.endpoint)
        if live.weights.get(name):  # it serves nobody any more: without traffic it can be made anew
            platform.set_traffic(work.endpoint, {}, generation=live.generation, previous=green.earlier)
        platform.delete(DEPLOYMENT, name, endpoint=work.endpoint)
        wait_gone(work, DEPLOYMENT, name, endpoint=work.endpoint)
    platform.create(
        OnlineDeployment(
            name=name,
            endpoint=work.endpoint,
            model=model,
            binding=work.binding,
            runtime=judged.runtimes.prompt_flow,
            variant=work.variant,
            tags=owner_tags(work) | deployment_tags(work, judged, model),
        )
    )


def wait_for_deployment(work: Work, green: Green, *, clock: Clock = REAL) -> None:
    """Wait until the new online deployment is healthy. Raises `ProvisioningFailed` with its logs."""
    wait_for(work, DEPLOYMENT, green.name, endpoint=work.endpoint, clock=clock)


def smoke_test(work: Work, green: Green) -> Answer:
    """Send the sample request to the new online deployment and assert the shape of its answer."""
    platform, sample = open_platform(work.settings), work.spec.sample
    answer = platform.invoke(work.endpoint, sample.inputs, deployment=green.name)
    problem = _problem(answer, sample.answer, expected=green.name)
    if problem:
        raise _failed(work, green, f"The smoke test of {green.name} failed: {problem}.")
    return answer


def steps(work: Work, green: Green) -> tuple[int, ...]:
    """The percentages to go through; with nothing to share the traffic with, all of it at once."""
    return work.settings.rollout.steps if set(green.before) - {green.name} else (100,)


def shift_traffic(work: Work, green: Green, judged: Judged, weight: int, *, clock: Clock = REAL) -> Traffic:
    """Give `weight` % to the new online deployment, the rest to the one before, and watch it serve."""
    platform = open_platform(work.settings)
    since = time.time()
    live = platform.traffic(work.endpoint)
    wanted = _mixed(green, weight)
    if live.weights != wanted:
        live = platform.set_traffic(work.endpoint, wanted, generation=live.generation, previous=green.before)
    if platform.traffic(work.endpoint).weights != wanted:
        raise PlatformError(f"Endpoint {work.endpoint} does not show the traffic that was just written.")
    record_event(work, judged, "traffic", {"endpoint": work.endpoint, "weights": dict(wanted)})
    _watch(work, green, weight, since=since, clock=clock)
    return live


def roll_back(work: Work, green: Green, judged: Judged, error: PlatformError) -> Rollout:
    """Undo a rollout: traffic as it was, the new deployment gone, the reason kept as a release event."""
    logs = error.logs if isinstance(error, ProvisioningFailed) else ""
    traffic = restore(work, green)
    detail: dict[str, Json] = {"problem": error.message, "logs": logs, "traffic": dict(traffic.weights)}
    record_event(work, judged, "rolled-back", detail)
    return Rollout(work.endpoint, _url(work), traffic, green.name, problem=error.message, logs=logs)


def finished(work: Work, green: Green, judged: Judged) -> Rollout:
    """The rollout as it stands, read live."""
    traffic = open_platform(work.settings).traffic(work.endpoint)
    record_event(work, judged, "released", {"deployment": green.name, "traffic": dict(traffic.weights)})
    return Rollout(work.endpoint, _url(work), traffic, green.name)


def restore(work: Work, green: Green) -> Traffic:
    """Put the traffic back as it was, verify it, then remove the new online deployment."""
    platform = open_platform(work.settings)
    live = platform.traffic(work.endpoint)
    if live.weights != green.before:
        earlier = {name: weight for name, weight in green.earlier.items() if name != green.name}
        platform.set_traffic(work.endpoint, green.before, generation=live.generation, previous=earlier)
    live = platform.traffic(work.endpoint)
    if live.weights != green.before:
        raise PlatformError(
            f"Endpoint {work.endpoint} could not be put back to {_shown(green.before)}: it shows {_shown(live.weights)}.",
            cure=f"Next: sluice status -e {work.settings.environment}",
        )
    if green.name not in green.before:
        platform.delete(DEPLOYMENT, green.name, endpoint=work.endpoint)
    return live


def remove_old(work: Work, green: Green) -> list[str]:
    """Remove online deployments without traffic, but keep the newest `rollout.keep` for a rollback."""
    platform = open_platform(work.settings)
    live = platform.traffic(work.endpoint)
    previous = live.previous if work.settings.rollout.keep else {}
    kept = {*live.weights, *previous, green.name}
    idle = [f.name for f in platform.owned(DEPLOYMENT, endpoint=work.endpoint) if f.name not in kept]
    for name in idle:
        platform.delete(DEPLOYMENT, name, endpoint=work.endpoint)
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
        "runtime": str(judged.runtimes.prompt_flow),
    }


def _watch(work: Work, green: Green, weight: int, *, since: float, clock: Clock) -> None:
    """Let it serve for the step's time, with requests of our own in case nobody else sends any."""
    platform, rollout = open_platform(work.settings), work.settings.rollout
    pause = rollout.step_seconds / rollout.probes
    for _ in range(rollout.probes):
        platform.invoke(work.endpoint, work.spec.sample.inputs, deployment=green.name)
        clock.sleep(pause)
    load = platform.load(work.endpoint, green.name, since=since)
    if load.requests < max(1, rollout.min_requests):
        raise _failed(work, green, f"{green.name} answered {load.requests} requests at {weight} %: too few to judge.")
    if load.errors / load.requests > rollout.max_error_ratio:
        raise _failed(work, green, f"{green.name} failed {load.errors} of {load.requests} requests at {weight} %.")
    slow = rollout.max_p95_seconds
    if slow is not None and (load.p95_seconds is None or load.p95_seconds > slow):
        raise _failed(work, green, f"{green.name} needs {load.p95_seconds} s (p95) at {weight} %, more than {slow} s.")


def _problem(answer: Answer, schema: Mapping[str, object], *, expected: str) -> str:
    if answer.status != 200:
        return f"status {answer.status}, {str(answer.body)[:300]}"
    if answer.deployment != expected:
        return f"{answer.deployment or 'nobody'} answered instead"
    return answer_problem(answer.body, schema)


def _failed(work: Work, green: Green, message: str) -> ProvisioningFailed:
    platform = open_platform(work.settings)
    return ProvisioningFailed(message, logs=platform.logs(DEPLOYMENT, green.name, endpoint=work.endpoint))


def _mixed(green: Green, weight: int) -> dict[str, int]:
    """`weight` for the new one, the rest to the stable one; all of it when there is nothing before."""
    rest = [name for name in green.before if name != green.name]
    if not rest or weight == 100:
        return {green.name: 100}
    return {rest[0]: 100 - weight, green.name: weight}


def _url(work: Work) -> str:
    return open_platform(work.settings).url(work.endpoint)


def _stable(weights: Mapping[str, int]) -> bool:
    return not weights or list(weights.values()) == [100]


def _shown(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {weight} %" for name, weight in weights.items()) or "no traffic"
