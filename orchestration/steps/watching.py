"""Watching a new online deployment serve: the evidence by which a traffic step is taken, or the rollout undone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from orchestration.errors import ProvisioningFailed
from orchestration.platforms import open_platform
from orchestration.platforms.base import Answer, Load
from orchestration.polling import Clock
from orchestration.steps.sample import answer_problem
from orchestration.steps.stable import DEPLOYMENT, Green
from orchestration.steps.work import Work

OK = 200
MEND = "Its last lines say more; mend it, then run the same command again."


def watch(work: Work, green: Green, weight: int, *, since: float, clock: Clock) -> None:
    """Let it serve for the step's time, with requests of our own in case nobody else sends any.

    Their answers must have the sample's shape. Those that failed count among all others.
    """
    platform, rollout = open_platform(work.settings), work.settings.rollout
    pause = rollout.step_seconds / rollout.probes
    answers: list[Answer] = []
    for _ in range(rollout.probes):
        answer = platform.invoke(work.endpoint, work.spec.sample.inputs, deployment=green.name)
        problem = problem_of(answer, work.spec.sample.answer, expected=green.name) if answer.status == OK else ""
        if problem:
            raise failed(work, green, f"{green.name} answered the sample request wrongly at {weight} %: {problem}.")
        answers.append(answer)
        clock.sleep(pause)
    load = platform.load(work.endpoint, green.name, since=since) or _load_of(answers)
    if load.requests < max(1, rollout.min_requests):
        raise failed(work, green, f"{green.name} answered {load.requests} requests at {weight} %: too few to judge.")
    if load.errors / load.requests > rollout.max_error_ratio:
        raise failed(work, green, f"{green.name} failed {load.errors} of {load.requests} requests at {weight} %.")
    slow = rollout.max_p95_seconds
    if slow is not None and (load.p95_seconds is None or load.p95_seconds > slow):
        raise failed(work, green, f"{green.name} needs {load.p95_seconds} s (p95) at {weight} %, more than {slow} s.")


def _load_of(answers: Sequence[Answer]) -> Load:
    """The evidence of our own requests, where the platform counts none; p95 by the nearest rank."""
    seconds = sorted(answer.seconds for answer in answers)
    errors = sum(answer.status != OK for answer in answers)
    return Load(len(answers), errors, seconds[math.ceil(0.95 * len(seconds)) - 1])


def problem_of(answer: Answer, schema: Mapping[str, object], *, expected: str) -> str:
    """What is wrong with an answer to the sample request; empty if nothing is."""
    if answer.status != OK:
        return f"status {answer.status}, {str(answer.body)[:300]}"
    if answer.deployment != expected:
        return f"{answer.deployment or 'nobody'} answered instead"
    return answer_problem(answer.body, schema)


def failed(work: Work, green: Green, message: str) -> ProvisioningFailed:
    """The error about the new online deployment, with its last lines."""
    platform = open_platform(work.settings)
    return ProvisioningFailed(message, logs=platform.logs(DEPLOYMENT, green.name, endpoint=work.endpoint), cure=MEND)
