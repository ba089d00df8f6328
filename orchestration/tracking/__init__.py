"""Where decisions, their evidence and their release events are kept: one MLflow run per decision.

Importing this costs nothing: MLflow is loaded by the first function that needs it, and reading a local decision
or its events needs only files.
"""

from orchestration.tracking.events import append_event, events
from orchestration.tracking.ledger import (
    BASIS_TAG,
    RecordedDecision,
    Summary,
    decision_path,
    find_basis,
    find_decision,
    find_recorded,
    holds,
    latest_decisions,
    load_decision,
)
from orchestration.tracking.record import record_evaluation
from orchestration.tracking.store import Store, check_store, local_store

__all__ = [
    "BASIS_TAG",
    "RecordedDecision",
    "Store",
    "Summary",
    "append_event",
    "check_store",
    "decision_path",
    "events",
    "find_basis",
    "find_decision",
    "find_recorded",
    "holds",
    "latest_decisions",
    "load_decision",
    "local_store",
    "record_evaluation",
]
