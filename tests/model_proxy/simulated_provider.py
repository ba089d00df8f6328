"""A provider with rate limits, and a prompt flow with many rows, in virtual time."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestration.model_proxy.controller import Controller, Ticket
from orchestration.model_proxy.cost import Size
from orchestration.model_proxy.hints import Hint, Hints
from orchestration.values import Tokens

REPLY = 40  # tokens of each answer


class Bucket:
    """Refills evenly; holds `burst` seconds of the limit."""

    def __init__(self, limit: float, burst: float) -> None:
        self.limit, self.burst, self.at = limit, burst, 0.0
        self.level = self.capacity

    @property
    def capacity(self) -> float:
        return max(1.0, self.limit / 60 * self.burst)

    def fill(self, now: float) -> None:
        self.level = min(self.capacity, self.level + (now - self.at) * self.limit / 60)
        self.at = now

    def wait(self, cost: float, now: float) -> float:
        self.fill(now)
        lack = min(cost, self.capacity) - self.level
        return lack * 60 / self.limit if lack > 1e-9 else 0.0

    def take(self, cost: float) -> None:
        self.level -= cost

    def remaining(self, now: float) -> float:
        self.fill(now)
        return max(0, math.floor(self.level + 1e-9))

    def change(self, limit: float, now: float) -> None:
        self.fill(now)
        self.limit = limit
        self.level = min(self.level, self.capacity)


class Window:
    """Counts from zero in each period of `seconds`."""

    def __init__(self, limit: float, seconds: float) -> None:
        self.limit, self.seconds, self.period, self.used = limit, seconds, 0, 0.0

    def roll(self, now: float) -> None:
        period = int(now // self.seconds)
        if period != self.period:
            self.period, self.used = period, 0.0

    def wait(self, cost: float, now: float) -> float:
        self.roll(now)
        fits = self.used + cost <= self.limit * self.seconds / 60 + 1e-9
        return 0.0 if fits else (self.period + 1) * self.seconds - now

    def take(self, cost: float) -> None:
        self.used += cost

    def remaining(self, now: float) -> float:
        self.roll(now)
        return max(0, math.floor(self.limit * self.seconds / 60 - self.used))

    def change(self, limit: float, now: float) -> None:
        self.roll(now)
        self.limit = limit


@dataclass
class Scenario:
    """`hints` are `headers`, `retry-after` (whole seconds) or `none`; limits per minute; times in seconds.

    The flow sees `size(tokens)` of a request whose prompt and reply have that many tokens; the provider charges
    `charge(tokens)`.
    """

    hints: str
    requests: float | None = None
    tokens: float | None = None
    burst: float = 1.0
    window: float | None = None
    rows: int = 1000
    in_flight: int = 64
    spacing: float = 0.008  # a prompt flow needs some time per row to send its first requests
    known: bool = False
    scouts: int | None = None
    change: tuple[float, float] | None = None  # (at, factor)
    round_trip: float = 0.02
    latency: tuple[float, float] = (0.35, 0.65)
    tokens_of_rows: tuple[int, ...] = (60, 100, 200, 400)
    size: Callable[[int], Size] = lambda tokens: Size(tokens - REPLY, REPLY)
    charge: Callable[[int], float] = float
    seed: int = 0


@dataclass
class Result:
    """`share` is what was admitted over what the limit allowed; `ramped` the same without the first 30 %."""

    share: float
    ramped: float
    refused: int
    refused_share: float
    seconds: float
    completed: int


@dataclass
class Simulation:
    scenario: Scenario
    now: float = 0.0
    refused: int = 0
    completed: int = 0
    queue: list[int] = field(default_factory=list)
    admitted: list[tuple[float, float, float]] = field(default_factory=list)  # (time, requests, tokens)
    timer: float | None = None

    def __post_init__(self) -> None:
        s = self.scenario
        self.random = random.Random(s.seed)
        self.rows = iter([self.random.choice(s.tokens_of_rows) for _ in range(s.rows)])
        self.events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self.number = itertools.count()
        self.limits = {name: self.limiter(limit) for name, limit in self.named_limits().items()}
        self.controller = Controller(
            now=lambda: self.now,
            requests_per_minute=s.requests if s.known else None,
            tokens_per_minute=s.tokens if s.known else None,
            scouts=s.scouts,
        )

    def named_limits(self) -> dict[str, float]:
        both = {"requests": self.scenario.requests, "tokens": self.scenario.tokens}
        return {name: limit for name, limit in both.items() if limit is not None}

    def limiter(self, limit: float) -> Bucket | Window:
        return Window(limit, self.scenario.window) if self.scenario.window else Bucket(limit, self.scenario.burst)

    def at(self, when: float, what: Callable[..., None], *arguments: object) -> None:
        heapq.heappush(self.events, (when, next(self.number), what, arguments))

    def run(self) -> Result:
        s = self.scenario
        if s.change:
            self.at(s.change[0], self.change_limits, s.change[1])
        for i in range(s.in_flight):
            self.at(i * s.spacing, self.next_row)
        while self.events and self.completed < s.rows:
            self.now, _, what, arguments = heapq.heappop(self.events)
            what(*arguments)
        return self.result()

    def next_row(self) -> None:
        row = next(self.rows, None)
        if row is not None:
            self.queue.append(row)
            self.send()

    def send(self) -> None:
        while self.queue:
            size = self.scenario.size(self.queue[0])
            wait = self.controller.wait(size)
            if wait > 0:
                if not math.isinf(wait):
                    self.timer = self.now + wait
                    self.at(self.timer, self.ring, self.timer)
                return
            tokens, ticket = self.queue.pop(0), self.controller.start(size)
            self.at(self.now + self.way(), self.arrive, tokens, ticket)

    def ring(self, timer: float) -> None:
        if timer == self.timer:
            self.send()

    def way(self) -> float:
        return self.scenario.round_trip / 2 * self.random.uniform(0.9, 1.1)

    def arrive(self, tokens: int, ticket: Ticket) -> None:
        costs = {"requests": 1.0, "tokens": self.scenario.charge(tokens)}
        waits = {name: limit.wait(costs[name], self.now) for name, limit in self.limits.items()}
        worst = max(waits, key=lambda name: waits[name], default="")
        if worst and waits[worst] > 0:
            self.at(self.now + self.way(), self.refuse, tokens, ticket, self.hints(worst, waits[worst]))
            return
        for name, limit in self.limits.items():
            limit.take(costs[name])
        self.admitted.append((self.now, 1.0, costs["tokens"]))
        latency = self.random.uniform(*self.scenario.latency)
        self.at(self.now + self.way() + latency, self.answer, tokens, ticket, self.hints())

    def hints(self, limited: str = "", wait: float = 0.0) -> Hints:
        told = {name: Hint() for name in ("requests", "tokens")}
        if self.scenario.hints == "headers":
            told |= {name: Hint(limit.limit, limit.remaining(self.now)) for name, limit in self.limits.items()}
        retry_after = None if self.scenario.hints == "none" or not limited else float(math.ceil(wait))
        if self.scenario.hints == "headers" and limited:
            retry_after = math.ceil(wait * 1000) / 1000
        return Hints(told["requests"], told["tokens"], retry_after, "tokens" if limited == "tokens" else None)

    def refuse(self, tokens: int, ticket: Ticket, hints: Hints) -> None:
        self.refused += 1
        self.controller.refused(ticket, hints)
        self.queue.insert(0, tokens)
        self.send()

    def answer(self, tokens: int, ticket: Ticket, hints: Hints) -> None:
        self.controller.answered(ticket, hints, tokens=Tokens(tokens - REPLY, REPLY))
        self.completed += 1
        self.send()
        self.next_row()

    def change_limits(self, factor: float) -> None:
        for name, limit in self.limits.items():
            limit.change(self.named_limits()[name] * factor, self.now)

    def result(self) -> Result:
        start = self.admitted[int(len(self.admitted) * 0.3)][0]
        answers = self.completed + self.refused
        return Result(
            share=self.share(0.0),
            ramped=self.share(start),
            refused=self.refused,
            refused_share=self.refused / answers,
            seconds=self.now,
            completed=self.completed,
        )

    def share(self, since: float) -> float:
        """Of the limit that bound most."""
        end = self.admitted[-1][0]
        used = {
            "requests": sum(requests for at, requests, _ in self.admitted if at >= since),
            "tokens": sum(tokens for at, _, tokens in self.admitted if at >= since),
        }
        return max(used[name] / self.allowed(limit, since, end) for name, limit in self.named_limits().items())

    def allowed(self, limit: float, since: float, end: float) -> float:
        at, factor = self.scenario.change or (end, 1.0)
        before = max(0.0, min(at, end) - since)
        return limit / 60 * (before + factor * (end - since - before))


def simulate(scenario: Scenario) -> Result:
    return Simulation(scenario).run()
