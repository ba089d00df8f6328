"""From steps to one `Release`: what the command line prints, what Prefect's final state says."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.steps import failures, serving
from orchestration.steps.evaluate import Judged
from orchestration.steps.rollout import Rollout
from orchestration.steps.serving import Serving
from orchestration.steps.work import Work, short
from orchestration.values import Json, ModelVersion, Outcome, Release, Status, Traffic, Verdict

WITHOUT_RELEASE = {
    Verdict.PASS: Outcome.EVALUATED,
    Verdict.FAIL: Outcome.REJECTED,
    Verdict.INCONCLUSIVE: Outcome.INCONCLUSIVE,
    Verdict.BROKEN: Outcome.BROKEN,
}


@dataclass(frozen=True, slots=True)
class Ended:
    """A release with what led to it, for artifacts and reports."""

    work: Work
    judged: Judged
    release: Release
    rollout: Rollout | None = None


class Stopwatch:
    """Seconds per stage and in total, for `seconds` of the release."""

    def __init__(self) -> None:
        self._began = self._lap = time.monotonic()
        self.seconds: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage], self._lap = round(now - self._lap, 3), now

    def total(self) -> dict[str, float]:
        return {**self.seconds, "total": round(time.monotonic() - self._began, 3)}


def not_released(work: Work, judged: Judged, seconds: Mapping[str, float]) -> Ended:
    """Ended at the gate, or in an environment that only evaluates: the endpoint is what it was."""
    before = serving.find(work)
    endpoint = _endpoint(before.endpoint, before.url, before.traffic) if before else None
    outcome = WITHOUT_RELEASE[judged.decision.verdict]
    return Ended(work, judged, _release(work, judged, outcome, seconds=seconds, endpoint=endpoint))


def unchanged(work: Work, judged: Judged, live: Serving, seconds: Mapping[str, float]) -> Ended:
    """Exactly this content serves already."""
    name, _, version = live.deployment.tags.get("model", "").rpartition(":")
    model: dict[str, Json] = {"name": name, "version": version, "content_hash": work.candidate.content_hash}
    endpoint = _endpoint(live.endpoint, live.url, live.traffic)
    return Ended(
        work, judged, _release(work, judged, Outcome.UNCHANGED, seconds=seconds, model=model, endpoint=endpoint)
    )


def rolled_out(
    work: Work, judged: Judged, model: ModelVersion, rollout: Rollout, seconds: Mapping[str, float]
) -> Ended:
    """Released, or rolled back with the reason first."""
    outcome = Outcome.ROLLED_BACK if rollout.problem else Outcome.RELEASED
    shown: dict[str, Json] = {"name": model.name, "version": model.version, "content_hash": model.content_hash}
    endpoint = _endpoint(rollout.endpoint, rollout.url, rollout.traffic)
    released = _release(work, judged, outcome, seconds=seconds, model=shown, endpoint=endpoint, problem=rollout.problem)
    return Ended(work, judged, released, rollout)


def sentence(release: Release) -> str:
    """One line: what happened to which prompt flow, and the reason that counts."""
    head = f"{release.prompt_flow} {release.commit} in {release.environment}: {release.outcome.value}"
    return f"{head}. {release.reasons[0]}" if release.reasons else f"{head}."


def worst_rows(work: Work, judged: Judged, *, most: int = 20) -> list[dict[str, str]]:
    """Failed rows first, then graded rows with a zero grade: keys, codes and grades, no answers and no messages (they may be private)."""
    failed = [
        {"row": r.row.key, "problem": f"{r.result.error.code} {r.result.error.where}".strip()}
        for r in judged.evaluation.rows
        if r.result.status is Status.FAILED and r.result.error is not None
    ]
    columns = [m.column for m in work.spec.metrics.values() if m.column is not None]
    wrong = [
        {"row": r.row.key, "problem": ", ".join(f"{c} = {r.grades[c]}" for c in columns if c in r.grades)}
        for r in judged.evaluation.rows
        if r.grades is not None and any(r.grades.get(c) in (0, False, "Incorrect") for c in columns)
    ]
    return (failed + wrong)[:most]


def _release(
    work: Work,
    judged: Judged,
    outcome: Outcome,
    *,
    seconds: Mapping[str, float],
    model: Mapping[str, Json] | None = None,
    endpoint: Mapping[str, Json] | None = None,
    problem: str = "",
) -> Release:
    decision, evaluation = judged.decision, judged.evaluation
    said = () if decision.verdict is Verdict.PASS else failures.messages(work, evaluation)
    return Release(
        prompt_flow=work.candidate.prompt_flow,
        environment=work.settings.environment,
        commit=short(work.candidate),
        outcome=outcome,
        verdict=decision.verdict,
        reasons=((problem,) if problem else ()) + decision.reasons + said,
        metrics=dict(decision.metrics),
        rows={
            "expected": evaluation.expected,
            "completed": evaluation.completed,
            "failed": evaluation.failed,
            "cached": evaluation.cached,
        },
        model=model,
        endpoint=endpoint,
        decision=decision.sha256,
        seconds=seconds,
    )


def _endpoint(name: str, url: str, traffic: Traffic) -> dict[str, Json]:
    return {"name": name, "url": url, "traffic": dict(traffic.weights)}
