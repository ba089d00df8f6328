"""A moment of an emulated cloud, to come back to: cases that start from the same state need not make it each time."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from azure_emulator import Cloud, VirtualClock
from azure_emulator.arm import Change
from azure_emulator.directory import Principal
from azure_emulator.kinds import Body, Resource
from azure_emulator.operations import Operation


@dataclass(frozen=True)
class Moment:
    """All resources of a cloud with their operations, what is known of their past, who there is, and the time."""

    resources: dict[str, Resource]
    operations: dict[str, Operation]
    history: list[Change]
    before: dict[str, Body | None]
    principals: dict[str, Principal]
    time: float

    @classmethod
    def of(cls, cloud: Cloud) -> Moment:
        return cloud.call(_taken(cloud))

    def restore(self, cloud: Cloud) -> None:
        """Let the cloud be as it was, with nothing recorded and no fault waiting."""
        cloud.call(self._put_back(cloud))

    async def _put_back(self, cloud: Cloud) -> None:
        resources, operations = _copied(self.resources, self.operations)
        cloud.arm.resources, cloud.arm.operations = resources, operations
        cloud.arm.history = list(self.history)
        cloud.arm._before = copy.deepcopy(self.before)
        cloud.directory.principals = dict(self.principals)
        cloud.scenario._faults.clear()
        cloud.scenario.played.clear()
        cloud.exchanges.clear()
        assert isinstance(cloud.clock, VirtualClock)
        cloud.clock._time = self.time


async def _taken(cloud: Cloud) -> Moment:
    store = cloud.arm
    resources, operations = _copied(store.resources, store.operations)
    principals, now = dict(cloud.directory.principals), cloud.clock.now()
    return Moment(resources, operations, list(store.history), copy.deepcopy(store._before), principals, now)


def _copied(
    resources: dict[str, Resource], operations: dict[str, Operation]
) -> tuple[dict[str, Resource], dict[str, Operation]]:
    """Copies that nobody changes; what services keep for themselves is shared, for processes can't be copied."""
    ended = {id(each): copy.copy(each) for each in operations.values()}
    copies = {}
    for key, each in resources.items():
        operation = ended.get(id(each.operation), each.operation)
        body, previous = copy.deepcopy(each.body), copy.deepcopy(each.previous)
        copies[key] = Resource(each.id, body, each.created, dict(each.data), each.state, operation, previous)
    return copies, {name: ended[id(each)] for name, each in operations.items()}
