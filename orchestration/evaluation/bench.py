"""What an evaluation works with: one workshop, and in it a bench for the prompt flow and one for its evaluator."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Self

from orchestration.evaluation.answers import Desk
from orchestration.evaluation.connections import Connections
from orchestration.evaluation.description import Description
from orchestration.evaluation.job import EvaluationJob, Progress, Subject
from orchestration.evaluation.progress import Meter
from orchestration.evaluation.recorded import Recorded, RecordedDesk
from orchestration.evaluation.row_store import RowStore
from orchestration.evaluation.rows import digest, subject_identity
from orchestration.evaluation.runner_client import Runner
from orchestration.evaluation.schedule import Limits
from orchestration.evaluation.scheduler import RunnerSession
from orchestration.evaluation.start import start_runner
from orchestration.values import Json

_log = logging.getLogger(__name__)


class Workshop:
    """Row store, connections, progress and brakes of one evaluation. An async context manager that ends them.

    With `recorded`, what was answered elsewhere by the benches' names, nothing is run here: a runner is only asked to
    describe a flow that was never opened before.
    """

    def __init__(
        self,
        job: EvaluationJob,
        progress: Callable[[Progress], None] | None,
        recorded: Mapping[str, Recorded] | None = None,
    ) -> None:
        self.job, self.recorded = job, recorded
        self.meter = Meter(progress)
        self.connections = Connections(job)
        self._deadline = time.monotonic() + job.deadline_seconds

    async def __aenter__(self) -> Self:
        self.store = RowStore(self.job.state, say=_log.warning)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.connections.close()
        finally:
            self.store.close()

    def bench(self, subject: Subject, name: str) -> Bench:
        """A place to run this subject; `name` is that of its log."""
        return Bench(self, subject, name)

    def stop(self) -> str | None:
        """Why everything must stop now, if it must; asked all the time, so progress is reported here too."""
        self.meter.report()
        if time.monotonic() > self._deadline:
            return f"the evaluation was not done within its deadline of {self.job.deadline_seconds:g} s"
        return self.connections.stopped


class Bench:
    """One subject with its runner, its description, and the desk where its rows are answered."""

    def __init__(self, workshop: Workshop, subject: Subject, name: str) -> None:
        job = workshop.job
        self.subject = subject
        self.identity: Mapping[str, Json] = subject_identity(subject, job.binding_hash)
        self._workshop, self._name = workshop, name
        self._description: Description | None = None
        self.session = RunnerSession(self._start, stop=workshop.stop)
        limits = Limits(job.in_flight, job.row_timeout_seconds)
        of_desk = (self.session, workshop.store, workshop.meter, limits, job.fresh)
        recorded = workshop.recorded
        self.desk = Desk(*of_desk) if recorded is None else RecordedDesk(*of_desk, recorded.get(name))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.session.__aexit__(kind)

    async def describe(self) -> Description:
        """What the runner says of the subject, known from an earlier evaluation or asked now. Raises `RunnerFailed`."""
        if self._description is None:
            key = digest({"description": self.identity})
            known = self._workshop.store.get([key]).get(key)
            if known is None:
                self._description = (await self.session.runner()).description
                self._workshop.store.put(key, asdict(self._description))
            else:
                self._description = Description(**known)
        return self._description

    async def _start(self) -> Runner:
        return await start_runner(self._workshop.job, self.subject, self._name, self._workshop.connections)
