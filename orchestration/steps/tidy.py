"""Removing what nobody has used for long: candidates and runtimes. What serves is never touched."""

from __future__ import annotations

from pathlib import Path

from orchestration.candidates import remove_old_candidates
from orchestration.platforms import open_local
from orchestration.platforms.base import RUNTIME_TAG, OnlineDeployment
from orchestration.runtimes import remove_old_runtimes
from orchestration.steps.work import Work


def tidy(work: Work) -> dict[str, int]:
    """Remove candidates and runtimes unused for `keep_days`; how many of each."""
    days = work.settings.keep_days
    serving = open_local(work.settings).owned(OnlineDeployment.kind)  # of every environment on this machine
    runtimes = [Path(each.tags[RUNTIME_TAG]) for each in serving if RUNTIME_TAG in each.tags]
    return {
        "candidates": remove_old_candidates(work.state, days, keep=[work.candidate.id]),
        "runtimes": remove_old_runtimes(work.settings.runtimes, days, keep=runtimes),
    }
