"""Step x request x fault: one step is driven from its moment while one of its requests goes wrong, once or every time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from azure_emulator.faults import MATRIX
from release_steps import CLIENTS, STEPS, Stage, Step, fingerprint, give_up, ours
from release_world import tags_of

from orchestration.errors import SluiceError
from orchestration.platforms.azure.faults import FAILURES

LASTING = ("onlineEndpoints", "deployments")  # whose writes are long-running operations
OPERATIONS = ("operation failed", "operation never ends")
BEHIND = ("404", "409", "503", "reset before", "stale read")
EVERY_TIME = 100_000
# What has the traffic is absent at every reading: then it can't serve, and nobody gets the traffic until a release.
TOLD_GONE = tuple(f"{step} / GET deployments / 404 / always" for step in ("check-endpoint", "roll-back"))


@dataclass(frozen=True)
class Case:
    """The fault `fault` of the matrix at a request of a step.

    `when`: `once` is the first request of that name, `always` every one, `behind` the first that follows a write.
    """

    step: str
    method: str
    kind: str
    fault: str
    when: str = "once"

    def __str__(self) -> str:
        return f"{self.step} / {self.method} {self.kind} / {self.fault} / {self.when}"

    @property
    def always(self) -> bool:
        return self.when == "always"

    @property
    def writes(self) -> bool:
        """Whether the request changes something."""
        return self.method in ("PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Ended:
    """How a step ended: without an error, or with which; after how many virtual seconds; what was wrong with that."""

    error: Exception | None
    seconds: float
    problems: tuple[str, ...] = ()

    @property
    def how(self) -> str:
        return type(self.error).__name__ if self.error else "done"


def cases() -> list[Case]:
    """The whole table."""
    return [case for name, step in STEPS.items() for case in _of(name, step)]


def _of(name: str, step: Step) -> Iterator[Case]:
    for method, kind in step.calls:
        for fault in _fitting(method, kind):
            yield Case(name, method, kind, fault)
            if kind != "blob":  # of the storage once is enough: it takes seconds each time
                yield Case(name, method, kind, fault, "always")
    for method, kind in step.behind:
        yield from (Case(name, method, kind, each, "behind") for each in BEHIND if each in _fitting(method, kind))


def _fitting(method: str, kind: str) -> Iterator[str]:
    """The faults that such a request can meet: a read has no operation, a write is not stale, HEAD has no body."""
    for name in MATRIX:
        if name in OPERATIONS and not (kind in LASTING and method in ("PUT", "PATCH", "DELETE")):
            continue
        if name == "stale read" and (method not in ("GET", "LIST") or kind == "blob"):
            continue
        if name in ("truncated body", "wrong JSON") and method == "HEAD":
            continue
        yield name


def run(stage: Stage, case: Case, clean: Mapping[str, object]) -> Ended:
    """Drive the case; `clean` is what a run without faults leaves. The problems are what must never be."""
    step, cloud = STEPS[case.step], stage.world.cloud
    stage.go_to(case.step, uploads=case.kind == "blob")
    before, changes, began = set(ours(stage)), len(cloud.arm.history), stage.world.now
    _set(stage, case)
    error = _driven(step, stage)
    ended = Ended(error, stage.world.now - began)
    problems = [*([] if cloud.scenario.played else ["the fault was not played"]), *_said_badly(error)]
    if ended.seconds > step.deadline + CLIENTS:
        problems.append(f"it took {ended.seconds:.0f} s")
    cloud.scenario._faults.clear()
    cloud.scenario.after = None
    problems += _again(step, stage, case)
    if str(case) in TOLD_GONE:
        return Ended(error, ended.seconds, tuple(problems + _traffic(stage, (*step.maps, {}), changes)))
    problems += _left(stage, clean, before) + _traffic(stage, step.maps, changes)
    return Ended(error, ended.seconds, tuple(problems))


def _set(stage: Stage, case: Case) -> None:
    """Let the fault wait for its request."""
    scenario, wanted = stage.world.cloud.scenario, (case.method, case.kind, MATRIX[case.fault])
    if case.when == "behind":
        scenario.after = wanted
    else:
        scenario.fault(*wanted, times=EVERY_TIME if case.always else 1)


def _driven(step: Step, stage: Stage) -> Exception | None:
    try:
        step.act(stage)
    except SluiceError as error:
        return error
    return None


def _said_badly(error: Exception | None) -> list[str]:
    """What a user would miss in the message."""
    if error is None:
        return []
    assert isinstance(error, SluiceError)
    found = []
    if "\n" in str(error):
        found.append(f"more than one line: {error}")
    if not error.cure and not any(cure in str(error) for cure in FAILURES.values()):
        found.append(f"no next command: {error}")
    return found


def _again(step: Step, stage: Stage, case: Case) -> list[str]:
    """A second run, with nothing in its way."""
    if case.fault == "operation never ends":
        give_up(stage)
    stage.world.quiet()
    try:
        (step.again or step.act)(stage)
    except SluiceError as error:
        return [f"the second run failed: {type(error).__name__}: {error}"]
    return []


def _left(stage: Stage, clean: Mapping[str, object], before: set[str]) -> list[str]:
    """What differs from a run without faults, and what carries no mark of ours."""
    found = fingerprint(stage)
    differs = [
        f"{key}: {found.get(key)} instead of {clean.get(key)}"
        for key in {*found, *clean}
        if found.get(key) != clean.get(key)
    ]
    unmarked = [key for key, each in ours(stage).items() if key not in before and not _is_marked(each.body)]
    return differs + [f"{key} carries no tag" for key in unmarked]


def _is_marked(body: Mapping[str, object]) -> bool:
    properties = body["properties"]
    assert isinstance(properties, Mapping)
    return "sluice" in tags_of(body) or str(properties.get("description", "")).startswith("sluice:")


def _traffic(stage: Stage, maps: Sequence[Mapping[str, int]], since: int) -> list[str]:
    """Maps that should not have been: unknown ones, out of order, or to a deployment that can't serve."""
    allowed = [stage.shown(each) for each in maps]
    seen = stage.world.maps(since)
    places = [allowed.index(each) if each in allowed else -1 for each in seen]
    problems = [f"the map {each} was seen" for each, place in zip(seen, places, strict=True) if place < 0]
    return problems + ([f"maps out of order: {seen}"] if places != sorted(places) else [])
