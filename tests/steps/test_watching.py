"""What a traffic step looks at before the next one."""

from __future__ import annotations

import pytest
from rollouts import Rollouts
from small_project import FLOW

from orchestration.errors import ProvisioningFailed

pytestmark = pytest.mark.real
AFTERWARDS = """
hellos = []
def answer(question: str) -> dict:
    if question == "hello":  # the sample request
        hellos.append(1)
        if len(hellos) > GOOD:
            WHAT
    return {"answer": question.upper()}
"""


def afterwards(what: str, good: int = 1) -> str:
    """A prompt flow that does something else once it got the sample request so often."""
    return AFTERWARDS.replace("WHAT", what).replace("GOOD", str(good))


@pytest.mark.parametrize("answer", ['{"answer": None}', '{"answer": "BYE"}', "{}"])
def test_wrong_answers_after_the_smoke_test_fail_the_step(rollouts: Rollouts, answer: str) -> None:
    blue, green = rollouts.released("blue"), rollouts.passed("green", source=afterwards(f"return {answer}"))
    begun = rollouts.begin(green)
    with pytest.raises(ProvisioningFailed, match=r"answered the sample request wrongly at 10 %: .*answer"):
        rollouts.shift(green, begun)
    assert rollouts.traffic == {blue.name: 90, green.name: 10}


def test_wrong_answers_are_not_forgiven_by_the_share_of_errors(rollouts: Rollouts) -> None:
    rollouts.set("rollout: {max_error_ratio: 0.9}\n")
    green = rollouts.passed("green", source=afterwards('return {"answer": None}', good=3))
    with pytest.raises(ProvisioningFailed, match="at 100 %"):
        rollouts.shift(green, rollouts.begin(green))


def test_failed_requests_count_by_their_share(rollouts: Rollouts) -> None:
    failing = afterwards(
        'if len(hellos) % 3 == 0:\n                print("about to fail", flush=True); raise ValueError("sorry")'
    )
    rollouts.set("rollout: {max_error_ratio: 0.5}\n")
    green = rollouts.passed("green", source=failing)
    begun = rollouts.begin(green)
    rollouts.shift(green, begun)
    assert rollouts.traffic == green.all
    rollouts.set("rollout: {max_error_ratio: 0.1}\n")
    strict = rollouts.again(green)
    with pytest.raises(ProvisioningFailed, match=r"failed \d of 5 requests at 100 %") as failed:
        rollouts.shift(strict, begun)
    assert "about to fail" in failed.value.logs


def test_too_few_requests_prove_nothing(rollouts: Rollouts) -> None:
    rollouts.set("rollout: {min_requests: 6}\n")
    green = rollouts.passed("green", source=FLOW)
    with pytest.raises(ProvisioningFailed, match="answered 5 requests at 100 %: too few to judge"):
        rollouts.shift(green, rollouts.begin(green))
