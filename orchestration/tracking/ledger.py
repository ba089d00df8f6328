"""Finding decisions again. What is returned as a decision has been checked against its hash."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from orchestration.decisions import read_decision
from orchestration.errors import NotAuthorized, PlatformError, PlatformUnavailable
from orchestration.tracking import peek
from orchestration.tracking.artifacts import artifact_path, read_artifact
from orchestration.tracking.store import Store, connected
from orchestration.values import Json

DOCUMENT: Final = "decision.json"
TABLE: Final = "table.jsonl"

DECISION_TAG: Final = "sluice.decision"
VERDICT_TAG: Final = "sluice.verdict"
BASIS_TAG: Final = "sluice.basis"
PROMPT_FLOW_TAG: Final = "sluice.prompt_flow"
ENVIRONMENT_TAG: Final = "sluice.environment"

SHA256 = re.compile(r"[0-9a-f]{64}")
ENVIRONMENT = re.compile(r"[A-Za-z0-9_-]+")
FINISHED = "FINISHED"  # picked here and not in the query: Azure's MLflow can't search by status
NEWEST_FIRST = ["attributes.start_time DESC"]
PAGE = 100
_log = logging.getLogger(__name__)


class RecordedDecision(NamedTuple):
    """A decision as it is stored: the run that holds it, and its document."""

    run_id: str
    document: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Summary:
    """One line of a history, from the run's tags: not checked, so nothing may be decided by it."""

    run_id: str
    decision: str
    verdict: str
    recorded_at: float  # seconds since the epoch
    tags: Mapping[str, str]


def decision_path(store: Store, run_id: str) -> Path:
    """The file that holds a decision in a local store. Raises `PlatformError` for a remote store."""
    return artifact_path(store, run_id, DOCUMENT)


def load_decision(store: Store, run_id: str, *, sha256: str) -> Mapping[str, Json]:
    """The document of the decision `sha256` that the run holds; a local store needs no MLflow for it.

    Raises `PlatformError` if it is gone, `NotAuthorized` if it is not the one that was hashed.
    """
    data = read_artifact(store, run_id, DOCUMENT)
    if data is None:
        raise PlatformError(
            f"The decision {sha256[:12]} has no document: run {run_id} holds no {DOCUMENT}.",
            cure="Evaluate again: sluice run --fresh.",
        )
    return read_decision(data, expected_sha256=sha256)


def find_decision(store: Store, sha256: str) -> RecordedDecision | None:
    """The recorded decision of that name; None if there is none. Raises as `load_decision` does."""
    if store.empty:
        return None
    with connected(store, f"find the decision {sha256[:12]}") as client:
        experiments = [each.experiment_id for each in client.search_experiments()]
        run = finished_run(client, experiments, sha256)
    return RecordedDecision(run, load_decision(store, run, sha256=sha256)) if run else None


def holds(store: Store, run_id: str, sha256: str) -> bool:
    """Whether the store still has that decision whole, with the run to which its events are added."""
    if store.empty or _intact(store, run_id, sha256) is None:
        return False
    return _knows_run(store, run_id) or find_decision(store, sha256) is not None


def find_recorded(
    store: Store, prompt_flow: str, basis: str, *, hint: tuple[str, str] | None = None
) -> RecordedDecision | None:
    """A decision that was made on this basis and can still be relied on; None if there is none.

    `hint` is run and name of one, which needs no MLflow if it is there. One whose document was removed or changed
    since is passed over with a warning, so that the decision is made anew.
    """
    tried = hint if hint is not None and _knows_run(store, hint[0]) else None
    if tried is not None and (found := _intact(store, *tried)):
        return found
    known = find_basis(store, prompt_flow, basis)
    return _intact(store, *known) if known and known != tried else None


def _knows_run(store: Store, run_id: str) -> bool:
    """Whether events can be added to the run, as far as that is known without MLflow."""
    return store.documents is not None or peek.knows_run(store, run_id)


def _intact(store: Store, run_id: str, sha256: str) -> RecordedDecision | None:
    try:
        return RecordedDecision(run_id, load_decision(store, run_id, sha256=sha256))
    except PlatformUnavailable:
        raise
    except (PlatformError, NotAuthorized) as error:
        _log.warning("%s", error.message)
        return None


def find_basis(store: Store, prompt_flow: str, basis: str) -> tuple[str, str] | None:
    """Run and name of the newest decision that was made on the same basis; None if there is none."""
    if store.empty or not SHA256.fullmatch(basis):
        return None
    with connected(store, f"find a decision on {prompt_flow}") as client:
        experiment = client.get_experiment_by_name(prompt_flow)
        if experiment is None:
            return None
        query = f"tags.{BASIS_TAG} = '{basis}'"
        runs = _finished(client, experiment.experiment_id, query)
        return next(((run.info.run_id, run.data.tags[DECISION_TAG]) for run in runs), None)


def latest_decisions(store: Store, *, prompt_flow: str, environment: str, limit: int = 20) -> list[Summary]:
    """The newest decisions on a prompt flow in an environment, newest first."""
    if store.empty or not ENVIRONMENT.fullmatch(environment):
        return []
    with connected(store, f"list the decisions on {prompt_flow}") as client:
        experiment = client.get_experiment_by_name(prompt_flow)
        if experiment is None:
            return []
        runs = _finished(client, experiment.experiment_id, f"tags.{ENVIRONMENT_TAG} = '{environment}'")
        return [_summary(run) for run in islice((run for run in runs if DECISION_TAG in run.data.tags), limit)]


def finished_run(client: Any, experiments: list[str], sha256: str) -> str | None:
    """Id of the first finished run that recorded the decision."""
    found = runs_of(client, experiments, sha256)
    return next((run.info.run_id for run in found if run.info.status == FINISHED), None)


def runs_of(client: Any, experiments: list[str], sha256: str) -> list[Any]:
    """All runs, oldest first, that record the decision, finished or not."""
    if not SHA256.fullmatch(sha256):
        raise PlatformError(f"{sha256!r} is not the sha256 of a decision.")
    if not experiments:
        return []
    query = f"tags.{DECISION_TAG} = '{sha256}'"
    return list(client.search_runs(experiments, query, order_by=["attributes.start_time ASC"]))


def _finished(client: Any, experiment: str, query: str) -> Iterator[Any]:
    """The finished runs that fit, newest first, page by page as they are needed."""
    token = None
    while True:
        page = client.search_runs([experiment], query, max_results=PAGE, order_by=NEWEST_FIRST, page_token=token)
        yield from (run for run in page if run.info.status == FINISHED)
        token = page.token
        if not token:
            return


def _summary(run: Any) -> Summary:
    tags = {key: value for key, value in run.data.tags.items() if not key.startswith("mlflow.")}
    recorded_at = run.info.start_time / 1000
    return Summary(run.info.run_id, tags[DECISION_TAG], tags.get(VERDICT_TAG, ""), recorded_at, tags)
