"""Looks into a local store's database without MLflow, which takes seconds to import.

MLflow's tables are its own business, so only a yes counts: after anything else MLflow has to be asked.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestration.databases import read_only
from orchestration.tracking.store import Store

RUN: Final = "SELECT 1 FROM runs WHERE run_uuid = ? AND status = 'FINISHED' AND lifecycle_stage = 'active'"
VERSION: Final = """
SELECT v.version FROM model_versions v JOIN model_version_tags t ON t.name = v.name AND t.version = v.version
WHERE v.name = ? AND t.key = ? AND t.value = ? AND v.current_stage <> 'Deleted_Internal' ORDER BY v.version LIMIT 1
"""
TAGS: Final = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"


@dataclass(frozen=True, slots=True)
class Version:
    """A registered model version with its tags, as MLflow's own class has them."""

    name: str
    version: str
    tags: Mapping[str, str]


def knows_run(store: Store, run_id: str) -> bool:
    """Whether the run is there for certain, finished and not deleted."""
    return bool(_rows(store, RUN, run_id))


def find_version(store: Store, name: str, tag: str, value: str) -> Version | None:
    """The first version of a registered model that carries the tag, if there is one for certain."""
    found = _rows(store, VERSION, name, tag, value)
    if not found:
        return None
    tags = _rows(store, TAGS, name, found[0][0])
    return Version(name, str(found[0][0]), {str(key): str(each) for key, each in tags})


def _rows(store: Store, query: str, *values: str) -> Sequence[Any]:
    if store.database is None or store.empty:
        return []
    try:
        with contextlib.closing(read_only(store.database)) as database:
            return database.execute(query, values).fetchall()
    except sqlite3.Error:  # other tables, or a file that can't be read: MLflow will say
        return []
