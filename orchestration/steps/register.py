"""Registering a candidate that passed."""

from __future__ import annotations

from orchestration.platforms import open_platform
from orchestration.steps.evaluate import Judged
from orchestration.steps.ledger import authorize, record_event
from orchestration.steps.work import Work
from orchestration.values import ModelVersion


def register_model(work: Work, judged: Judged) -> ModelVersion:
    """Register the content under its decision; the same content is the same version, which is then reused."""
    authorize(work, judged)
    decision = judged.decision
    platform = open_platform(work.settings)
    tags = {"decision": decision.sha256, "verdict": decision.verdict.value, "run": judged.run_id}
    tags |= {f"metric.{name}": str(value) for name, value in decision.metrics.items() if value is not None}
    model = platform.register_model(work.candidate, decision=decision.sha256, tags=tags)
    platform.set_alias(model, work.settings.environment)
    record_event(work, judged, "registered", {"model": model.name, "version": model.version})
    return model
