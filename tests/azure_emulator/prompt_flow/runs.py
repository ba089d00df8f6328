"""Batch runs: what was asked for, how each stands by the clock, and what came of it."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..directory import Principal
from ..wire import Refused
from .refusals import root_error
from .sessions import Machine

if TYPE_CHECKING:
    from ..cloud import Cloud

NOT_STARTED, PREPARING, RUNNING = "NotStarted", "Preparing", "Running"
COMPLETED, FAILED = "Completed", "Failed"
CANCEL_REQUESTED, CANCELED = "CancelRequested", "Canceled"
FINAL = (COMPLETED, FAILED, CANCELED)
PREPARING_SECONDS = 10.0
# What a stale read sees; before it was there, there was nothing to see.
BEFORE = {
    PREPARING: NOT_STARTED,
    RUNNING: PREPARING,
    COMPLETED: RUNNING,
    FAILED: RUNNING,
    CANCEL_REQUESTED: RUNNING,
    CANCELED: CANCEL_REQUESTED,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the work came to. `lines` are the records of the lines, in their order."""

    status: str
    error: Mapping[str, Any] | None = None
    lines: tuple[Mapping[str, Any], ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    tokens: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """One run. `order` is what was submitted; `snapshot` the flow as it was then, `folder` where the run works.

    It starts when its machine is `ready`, and ends at `ends` at the earliest: it takes as long as the scenario says,
    and never less than its work, which begins at once.
    """

    id: str
    workspace: str
    order: Mapping[str, Any]
    by: Principal
    machine: Machine
    snapshot: Path
    folder: Path
    created: float
    ends: float
    forced: Outcome | None = None
    work: asyncio.Task[Outcome] | None = None
    canceled: float = math.inf
    display_name: str = ""
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    hidden: bool = False
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def base(self) -> str:
        """The run whose outputs it takes, if any."""
        return str(self.order.get("variantRunId") or "")


class Runs:
    """The runs of all workspaces. `patience`: real seconds that one answer may wait for work that is late."""

    def __init__(self, cloud: Cloud) -> None:
        self.patience = 10.0
        self._cloud = cloud
        self._runs: dict[tuple[str, str], Run] = {}

    def add(self, run: Run) -> None:
        """Keep a run."""
        self._runs[run.workspace.lower(), run.id.lower()] = run

    def find(self, workspace: str, id_: str) -> Run | None:
        """The run of that id; None if there is none."""
        return self._runs.get((workspace.lower(), id_.lower()))

    def get(self, workspace: str, id_: str) -> Run:
        """The run of that id. Raises `Refused`."""
        found = self.find(workspace, id_)
        if found is None:
            raise absent(id_)
        return found

    def below(self, workspace: str) -> list[Run]:
        """A workspace's runs, the newest first."""
        return [each for key, each in reversed(self._runs.items()) if key[0] == workspace.lower()]

    async def status(self, run: Run) -> str:
        """How it stands."""
        now = self._cloud.clock.now()
        if now >= run.canceled:
            takes = self._cloud.scenario.duration("POST", "bulkRuns/cancel")
            return CANCELED if now >= run.canceled + takes else CANCEL_REQUESTED
        outcome = await self.outcome(run)
        if outcome:
            return outcome.status
        if now < run.machine.ready:
            return NOT_STARTED
        return PREPARING if now < run.machine.ready + PREPARING_SECONDS else RUNNING

    async def outcome(self, run: Run) -> Outcome | None:
        """What came of it; None before its end, or if it was canceled. Waits for work that is late."""
        now = self._cloud.clock.now()
        if now < min(run.ends, run.canceled):
            await self._check_machine(run, now)
        if now < run.ends or now >= run.canceled:
            return None
        if run.forced:
            return run.forced
        assert run.work is not None
        done, _ = await asyncio.wait([run.work], timeout=self.patience)
        return run.work.result() if done else None

    async def _check_machine(self, run: Run, now: float) -> None:
        """A run ends with the compute instance below it."""
        name = run.machine.compute
        if name and await self._cloud.arm.find(f"{run.workspace}/computes/{name}") is None:
            text = f"The compute instance {name} was deleted while the run was on it."
            run.forced, run.ends = Outcome(FAILED, root_error(400, "ComputeDeleted", text)), now

    def begun(self, run: Run) -> bool:
        """Whether it has anything to say yet."""
        return self._cloud.clock.now() >= run.machine.ready + PREPARING_SECONDS


def absent(id_: str) -> Refused:
    """What is said of a run that is not there."""
    return Refused(404, "NotFoundError", f"Run runId={id_} was not found")
