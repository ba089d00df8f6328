"""Prompt flow's service, with the data planes beside it that its clients ask about runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wire import Refused, Request, Response
from . import traces
from .bulk_runs import BulkRuns
from .calls import Operations
from .flow_runtimes import FlowRuntimes, State
from .history import History
from .refusals import Wording
from .results import Results
from .runs import Run, Runs
from .sessions import Sessions
from .work import Work

if TYPE_CHECKING:
    from ..cloud import Cloud

__all__ = ["FlowRuntimes", "Run", "Runs", "Sessions", "State", "install"]


def install(cloud: Cloud) -> None:
    """Answer at the region's host and at the studio's."""
    runtimes, sessions, runs = FlowRuntimes(cloud), Sessions(cloud), Runs(cloud)
    for each in (runtimes, sessions, runs):
        cloud.add(each)
    work = Work(cloud, lambda run: runs.find(run.workspace, run.base) if run.base else None)
    cloud.at_stop(work.stop)
    services = (
        runtimes,
        sessions,
        BulkRuns(cloud, runs, sessions, work),
        History(cloud, runs),
        Results(cloud, runs, work),
    )
    operations = [each for service in services for each in service.operations()]
    service = Service(cloud, Operations(cloud, [*operations, *traces.operations()]))
    for host in (rf"{cloud.region}\.api\.azureml\.ms", r"ml\.azure\.com"):
        cloud.route(host, service.handle, kind=service.kind, reworded=service.reworded)


class Service:
    """All operations behind the hosts, with errors in their own words."""

    def __init__(self, cloud: Cloud, operations: Operations) -> None:
        wording = Wording(cloud.region)
        self.kind, self.reworded = operations.kind, wording.reworded
        self._operations, self._wording = operations, wording

    async def handle(self, request: Request) -> Response | None:
        """The answer; None if the request is none of these services'."""
        try:
            return await self._operations.handle(request)
        except Refused as no:
            return self._wording.refused(no)
