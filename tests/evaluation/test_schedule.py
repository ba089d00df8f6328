"""The scheduler's invariant: each row ends exactly once, whatever the runner does."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.evaluation.schedule import START_SECONDS, SUSPECTS_AT_ONCE, Limits, Schedule
from orchestration.values import Status

OUTPUTS = ("answer",)


def result(name, output="x", **fields):
    return {
        "type": "result",
        "id": name,
        "status": "completed",
        "output": {"answer": output},
        "seconds": 0.1,
        "tokens": {"prompt": 1, "completion": 2},
    } | fields


@dataclass
class Peer:
    """A runner on paper: it holds what was sent to it."""

    rows: int
    limits: Limits = field(default_factory=lambda: Limits(in_flight=3, row_seconds=10))
    now: float = 0.0
    ended: dict[int, object] = field(default_factory=dict)
    flights: dict[str, dict] = field(default_factory=dict)
    sent: list[dict] = field(default_factory=list)

    def __post_init__(self):
        inputs = [{"n": n} for n in range(self.rows)]
        self.schedule = Schedule(inputs, self.limits, outputs=OUTPUTS, ended=self._end)
        self.take()

    def _end(self, row, how):
        assert row not in self.ended, "a row ended twice"
        self.ended[row] = how

    def take(self):
        for message in self.schedule.take(self.now):
            self.sent.append(message)
            if message["type"] == "row":
                self.flights[message["id"]] = message
            else:
                self.flights.pop(message["id"], None)
        assert len(self.flights) <= self.limits.in_flight
        assert sum(m["alone"] for m in self.flights.values()) <= SUSPECTS_AT_ONCE

    def say(self, *messages):
        for message in messages:
            if message["type"] == "result":
                self.flights.pop(message["id"], None)
            ids = message.get("ids")
            for name in ids if isinstance(ids, list) else ():
                self.flights.pop(name, None)
            self.schedule.heard(message, self.now)
        self.take()

    def die(self):
        self.flights.clear()
        self.schedule.runner_died("signal 9")
        self.take()

    def pass_time(self, seconds):
        self.now += seconds
        self.schedule.tick(self.now)
        self.take()


def name_of(peer, row):
    return next(name for name, message in peer.flights.items() if message["inputs"] == {"n": row})


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "answer",
                "fail",
                "null",
                "nonsense",
                "lose",
                "lose all",
                "lose nobody",
                "die",
                "wait",
                "start",
                "late",
                "mumble",
            ]
        ),
        st.integers(0, 7),
    ),
    max_size=80,
)


def act(peer: Peer, action: str, number: int) -> None:  # noqa: PLR0912 - one per action
    names = sorted(peer.flights)
    name = names[number % len(names)] if names else "none"
    match action:
        case "answer":
            peer.say(result(name))
        case "fail":
            peer.say(result(name, status="failed", error={"code": "Raised", "message": "m", "where": ""}))
        case "null":
            peer.say(result(name, output=None))
        case "nonsense":
            peer.say({"type": "result", "id": name, "status": 3}, {"type": "lost"}, {"type": "lost", "ids": 7})
        case "lose":
            peer.say({"type": "lost", "ids": [name], "cause": "exit code 3"})
        case "lose all":
            peer.say({"type": "lost", "ids": [n for n in names if not peer.flights[n]["alone"]], "cause": "signal 11"})
        case "lose nobody":
            peer.say({"type": "lost", "ids": ["1.99", "?"], "cause": "signal 11"})
        case "die":
            peer.die()
        case "wait":
            peer.pass_time(number)
        case "start":
            peer.say({"type": "started", "id": name})
        case "late":
            for message in [m for m in peer.sent if m["type"] == "row"][number : number + 1]:
                if message["id"] not in peer.flights:
                    peer.say(result(message["id"], output="late"))
        case "mumble":
            peer.say({"type": "heartbeat", "seconds": 0}, {"type": "unheard of"})


@settings(max_examples=400, deadline=None)
@given(rows=st.integers(0, 12), in_flight=st.integers(1, 6), actions=ACTIONS, stop=st.booleans())
def test_each_row_ends_exactly_once_whatever_the_runner_does(rows, in_flight, actions, stop):
    peer = Peer(rows, Limits(in_flight, row_seconds=10))
    for action, number in actions:
        act(peer, action, number)
        assert peer.schedule.done == (len(peer.ended) == rows)
    if stop:
        peer.schedule.stop("enough")
        peer.take()
        assert peer.flights == {}
    for _ in range(rows + 1):  # then the runner falls silent: deadlines alone end everything
        peer.pass_time(10 + START_SECONDS)
    assert sorted(peer.ended) == list(range(rows))
    assert peer.schedule.done
    assert all(how.output == {"answer": "x"} for how in peer.ended.values() if how.status is Status.COMPLETED)


@settings(max_examples=100, deadline=None)
@given(rows=st.integers(1, 30), in_flight=st.integers(1, 8), data=st.data())
def test_only_rows_that_kill_their_worker_crash(rows, in_flight, data):
    """One worker that dies of certain rows takes all of its others along; those complete in the end."""
    deadly = data.draw(st.sets(st.integers(0, rows - 1)))
    peer = Peer(rows, Limits(in_flight, row_seconds=10))
    while not peer.schedule.done:
        name = data.draw(st.sampled_from(sorted(peer.flights)))
        message = peer.flights[name]
        if message["inputs"]["n"] not in deadly:
            peer.say(result(name))
            continue
        shared = [n for n, m in peer.flights.items() if not m["alone"]]
        peer.say({"type": "lost", "ids": [name] if message["alone"] else shared, "cause": "exit code 1"})
    assert {row for row, how in peer.ended.items() if how.status is Status.FAILED} == deadly
    assert all(how.error.code == "Crashed" for how in peer.ended.values() if how.error)


def test_rows_are_sent_in_order_up_to_the_limit():
    peer = Peer(5)
    assert [m["inputs"]["n"] for m in peer.sent] == [0, 1, 2]
    peer.say(result(name_of(peer, 1)))
    assert [m["inputs"]["n"] for m in peer.sent] == [0, 1, 2, 3]


def test_a_late_row_is_cancelled_and_frees_its_place():
    peer = Peer(4)
    late = name_of(peer, 0)
    peer.say({"type": "started", "id": late})
    peer.pass_time(10)
    assert peer.ended[0].error.code == "TimedOut"
    assert peer.sent[-2:][0] == {"type": "cancel", "id": late}
    assert peer.sent[-1]["inputs"] == {"n": 3}
    peer.say(result(late))
    assert peer.ended[0].error.code == "TimedOut"


def test_a_row_has_its_whole_time_from_its_start():
    peer = Peer(1)
    peer.pass_time(START_SECONDS - 1)
    peer.say({"type": "started", "id": name_of(peer, 0)})
    peer.pass_time(9.9)
    assert peer.ended == {}
    peer.pass_time(0.1)
    assert peer.ended[0].error.code == "TimedOut"


def test_an_answer_of_an_earlier_attempt_counts_for_nothing():
    peer = Peer(1)
    first = name_of(peer, 0)
    peer.say({"type": "lost", "ids": [first], "cause": "unresponsive for 10 s"})
    peer.say(result(first, output="late"))
    assert peer.ended == {}
    peer.say(result(name_of(peer, 0)))
    assert (peer.ended[0].output, peer.ended[0].attempts) == ({"answer": "x"}, 2)


def test_after_the_runners_death_rows_run_with_nothing_beside_them_and_the_culprit_is_found():
    peer = Peer(5)
    peer.die()
    assert [(m["inputs"]["n"], m["alone"]) for m in peer.flights.values()] == [(0, True)]
    peer.say(result(name_of(peer, 0)))
    assert [m["inputs"]["n"] for m in peer.flights.values()] == [1]
    peer.die()
    assert peer.ended[1].error.code == "Crashed"
    peer.say(result(name_of(peer, 2)))
    assert [m["inputs"]["n"] for m in peer.flights.values()] == [3, 4]


def test_the_proxys_surrender_to_a_rate_limit_has_its_own_code():
    peer = Peer(1)
    message = "RateLimitError: Error code: 429 - {'error': {'code': 'sluice_limit_deadline'}}"
    error = {"code": "Raised", "message": message, "where": "a.py:1"}
    peer.say(result(name_of(peer, 0), status="failed", output=None, error=error))
    assert peer.ended[0].error.code == "RateLimited"
