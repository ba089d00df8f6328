"""Which row is sent when, and how each row ends: a state machine without I/O.

Events come in (`heard`, `runner_died`, `tick`, `stop`), messages for the runner come out (`take`). Whatever the
runner does, each row ends exactly once:

    waiting -> in flight -> completed or failed            the runner's answer
                         -> TimedOut                       its deadline passed
                         -> suspect -> alone in flight     its worker died; in a worker of its own it is the culprit,
                                                           or it is not
                         -> exclusive                      the runner itself died: then nothing else is in flight

An answer counts for the attempt that it belongs to, so what comes late changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestration.evaluation.outcomes import Ended, failed, read_result

START_SECONDS = 60.0  # for a worker to be started and the flow opened in it, before the row's own time begins
SUSPECTS_AT_ONCE = 4  # each has a worker process of its own: bounded memory, and still one culprit per death


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `in_flight` rows at a time, each for at most `row_seconds` from its start."""

    in_flight: int
    row_seconds: float


@dataclass(slots=True)
class _Flight:
    row: int
    deadline: float
    alone: bool
    exclusive: bool


class Schedule:
    """Rows are numbers: positions in `inputs`. `ended(row, how)` is called exactly once per row."""

    def __init__(
        self,
        inputs: Sequence[Mapping[str, Any]],
        limits: Limits,
        *,
        outputs: Collection[str],
        ended: Callable[[int, Ended], None],
    ) -> None:
        self._inputs, self._limits, self._outputs, self._ended = inputs, limits, outputs, ended
        self._waiting = deque(range(len(inputs)))
        self._suspects: deque[int] = deque()
        self._exclusive: deque[int] = deque()
        self._flights: dict[str, _Flight] = {}
        self._attempts = [0] * len(inputs)
        self._outbox: list[Mapping[str, Any]] = []
        self.stopped: str | None = None

    @property
    def done(self) -> bool:
        """Every row has ended."""
        return not (self._waiting or self._suspects or self._exclusive or self._flights)

    def take(self, now: float) -> list[Mapping[str, Any]]:
        """The messages that are due now: cancellations, and rows as far as there is room."""
        self._fill(now)
        messages, self._outbox = self._outbox, []
        return messages

    def heard(self, message: Mapping[str, Any], now: float) -> None:
        """A message of the runner. Kinds that mean nothing to the schedule are ignored."""
        match message["type"]:
            case "result":
                self._answered(message)
            case "lost":
                self._lost(message)
            case "started":
                if flight := self._flights.get(str(message.get("id"))):
                    flight.deadline = now + self._limits.row_seconds

    def tick(self, now: float) -> None:
        """Rows whose deadline has passed end as TimedOut, and the runner is told."""
        for late in [name for name, flight in self._flights.items() if flight.deadline <= now]:
            self._cancel(late, "TimedOut", f"no answer within {self._limits.row_seconds:g} s", self._limits.row_seconds)

    def runner_died(self, cause: str) -> None:
        """All that was in flight runs again, with nothing beside it; what dies then is the culprit."""
        flights, self._flights = self._flights, {}
        self._outbox.clear()
        for flight in flights.values():
            if flight.exclusive:
                self._end(flight.row, failed("Crashed", f"the runner died with this row alone in flight ({cause})"))
            else:
                self._exclusive.append(flight.row)

    def stop(self, reason: str) -> None:
        """End everything: rows in flight are cancelled, the others are not sent; all of them are Missing."""
        self.stopped = self.stopped or reason
        for name in list(self._flights):
            self._cancel(name, "Missing", f"cancelled: {reason}", 0.0)
        for queue in (self._waiting, self._suspects, self._exclusive):
            while queue:
                self._end(queue.popleft(), failed("Missing", f"not run: {reason}"))

    def _fill(self, now: float) -> None:
        if self._exclusive or any(flight.exclusive for flight in self._flights.values()):
            if self._exclusive and not self._flights:
                self._send(self._exclusive.popleft(), now, alone=True, exclusive=True)
            return
        alone = sum(flight.alone for flight in self._flights.values())
        while self._suspects and alone < SUSPECTS_AT_ONCE and len(self._flights) < self._limits.in_flight:
            self._send(self._suspects.popleft(), now, alone=True)
            alone += 1
        while self._waiting and len(self._flights) < self._limits.in_flight:
            self._send(self._waiting.popleft(), now)

    def _send(self, row: int, now: float, *, alone: bool = False, exclusive: bool = False) -> None:
        self._attempts[row] += 1
        name = f"{row}.{self._attempts[row]}"
        self._flights[name] = _Flight(row, now + START_SECONDS + self._limits.row_seconds, alone, exclusive)
        self._outbox.append({"type": "row", "id": name, "inputs": self._inputs[row], "alone": alone})

    def _answered(self, message: Mapping[str, Any]) -> None:
        flight = self._flights.pop(str(message.get("id")), None)
        if flight is not None:
            self._end(flight.row, read_result(message, self._outputs))

    def _lost(self, message: Mapping[str, Any]) -> None:
        cause, names = str(message.get("cause")), message.get("ids")
        for name in names if isinstance(names, list) else ():
            flight = self._flights.pop(str(name), None)
            if flight is None:
                continue
            if flight.alone:
                self._end(flight.row, failed("Crashed", f"its process died: {cause}"))
            else:
                self._suspects.append(flight.row)

    def _cancel(self, name: str, code: str, message: str, seconds: float) -> None:
        flight = self._flights.pop(name)
        self._outbox.append({"type": "cancel", "id": name})
        self._end(flight.row, failed(code, message, seconds=seconds))

    def _end(self, row: int, ended: Ended) -> None:
        self._ended(row, ended.after(self._attempts[row]))
