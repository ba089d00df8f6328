"""The ledger of decisions: recorded once, events appended below them."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from orchestration import tracking
from orchestration.decisions import authorizes
from orchestration.errors import PlatformError
from orchestration.platforms import open_store
from orchestration.settings import Settings
from orchestration.steps.evaluate import Judged
from orchestration.steps.work import Work
from orchestration.values import Json, ReleaseEvent

_log = logging.getLogger(__name__)


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
    append(work.settings, judged.run_id, judged.decision.sha256, kind, detail)


def note(settings: Settings, run_id: str, decision: str, kind: str, detail: Mapping[str, Json]) -> None:
    """Append a release event of something that is done already: if that can't be, it is a warning."""
    try:
        append(settings, run_id, decision, kind, detail)
    except (PlatformError, OSError) as error:
        _log.warning("Done, but not noted: %s", error)


def append(settings: Settings, run_id: str, decision: str, kind: str, detail: Mapping[str, Json]) -> None:
    """Append a release event under a decision's run, with time and user."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    event = ReleaseEvent(decision=decision, kind=kind, at=at, by=getpass.getuser(), detail=detail)
    tracking.append_event(open_store(settings), run_id, event)
