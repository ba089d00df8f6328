"""Release events: small files under the decision's run that are written once and never again."""

from __future__ import annotations

import json
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Final

from orchestration.errors import PlatformError
from orchestration.tracking.artifacts import list_artifacts, read_artifact, write_artifacts
from orchestration.tracking.store import Store, connected
from orchestration.values import ReleaseEvent, as_json, canonical

FOLDER: Final = "events"


def append_event(store: Store, run_id: str, event: ReleaseEvent) -> None:
    """Add an event under the run of its decision."""
    content = {f"{FOLDER}/{_file_name(event)}": canonical(as_json(event))}
    if store.documents is not None:  # no MLflow for a file that it doesn't keep
        write_artifacts(store, None, run_id, content)
        return
    with connected(store, f"note the release event {event.kind}") as client:
        write_artifacts(store, client, run_id, content)


def events(store: Store, run_id: str) -> list[ReleaseEvent]:
    """The events of the run in the order in which they were appended; a local store needs no MLflow for it."""
    names = [name for name in list_artifacts(store, run_id, FOLDER) if name.endswith(".json")]
    return [_read(store, run_id, name) for name in names]


def _file_name(event: ReleaseEvent) -> str:
    """Names sort by the time of appending; the random end keeps two events of one moment apart."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    when = f"{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S}.{nanoseconds:09d}Z"
    kind = re.sub(r"[^A-Za-z0-9]+", "-", event.kind).strip("-") or "event"
    return f"{when}-{kind}-{secrets.token_hex(3)}.json"


def _read(store: Store, run_id: str, name: str) -> ReleaseEvent:
    data = read_artifact(store, run_id, name)
    try:
        return ReleaseEvent(**json.loads(data or b""))
    except (ValueError, TypeError) as error:
        raise PlatformError(f"The release event {name} of run {run_id} can't be read: {error}.") from None
