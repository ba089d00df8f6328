"""The ledger of decisions: recorded once, events appended below them."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from orchestration import tracking
from orchestration.decisions import authorizes
from orchestration.steps.evaluate import Judged
from orchestration.steps.work import Work
from orchestration.values import Json, ReleaseEvent


def authorize(work: Work, judged: Judged) -> None:
    """The check that registration and deployment make first. Raises `NotAuthorized`."""
    authorizes(
        judged.decision.document,
        content_hash=work.candidate.content_hash,
        binding_hash=work.binding.binding_hash,
        environment=work.settings.environment,
    )


def record_event(work: Work, judged: Judged, kind: str, detail: Mapping[str, Json]) -> None:
    """Append a release event under the decision that `judged` carries."""
    append(work.state, judged.run_id, judged.decision.sha256, kind, detail)


def append(state: Path, run_id: str, decision: str, kind: str, detail: Mapping[str, Json]) -> None:
    """Append a release event under a decision's run, with time and user."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    event = ReleaseEvent(decision=decision, kind=kind, at=at, by=getpass.getuser(), detail=detail)
    tracking.append_event(tracking.local_store(state), run_id, event)
