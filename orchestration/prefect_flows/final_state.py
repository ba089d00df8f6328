"""The parent flow's final state: named, so that a person sees at a glance how a run ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from orchestration.errors import SluiceError
from orchestration.steps.outcome import sentence
from orchestration.values import Outcome, Release

# The worst of several prompt flows names the run.
ORDER = (
    (Outcome.BROKEN, "Broken", Failed),
    (Outcome.ROLLED_BACK, "RolledBack", Failed),
    (Outcome.REJECTED, "Rejected", Completed),
    (Outcome.INCONCLUSIVE, "Inconclusive", Completed),
    (Outcome.RELEASED, "Released", Completed),
    (Outcome.EVALUATED, "Evaluated", Completed),
    (Outcome.UNCHANGED, "Unchanged", Completed),
)


def of(releases: Sequence[Release]) -> State[Any]:
    """Name, type and message by the worst outcome; the releases themselves as data."""
    outcomes = {release.outcome for release in releases}
    name, state = next((name, state) for outcome, name, state in ORDER if outcome in outcomes)
    return state(name=name, message="\n".join(sentence(release) for release in releases), data=list(releases))


def refused(error: SluiceError) -> State[Any]:
    """The input was wrong, or the platform refused before anything was judged."""
    return Failed(name="Refused", message=str(error), data=error)
