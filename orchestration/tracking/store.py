"""A tracking store as a value, and the one door to MLflow.

Every call names its store, so two state folders in one process never mix; MLflow's global state is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import WARNING, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from orchestration.errors import PlatformError, PlatformUnavailable

if TYPE_CHECKING:
    from filelock import BaseFileLock

SQLITE = "sqlite:///"
TRANSIENT = frozenset({"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
NOISY = ("mlflow.store.db.utils", "alembic")


@dataclass(frozen=True, slots=True)
class Store:
    """An MLflow tracking server or database.

    `artifact_root` is the address below which each run has its folder; empty leaves that to the server. `lock` is
    a file of this machine: whoever looks something up in order to create it holds it, so that two processes don't
    create the same thing twice.
    """

    tracking_uri: str
    artifact_root: str
    lock: Path

    @property
    def folder(self) -> Path | None:
        """Folder of the runs if it is on this machine."""
        parts = urlsplit(self.artifact_root)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    @property
    def database(self) -> Path | None:
        """The database file if the store is one."""
        return Path(self.tracking_uri.removeprefix(SQLITE)) if self.tracking_uri.startswith(SQLITE) else None

    @property
    def empty(self) -> bool:
        """Whether the store was never used, which is known without MLflow for a local one only."""
        return self.database is not None and not self.database.exists()

    def hold(self) -> BaseFileLock:
        """The store's lock, as a context manager. Not to be nested."""
        from filelock import FileLock  # noqa: PLC0415 - importing this module costs nothing

        self.lock.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(self.lock)


def local_store(state: Path) -> Store:
    """The store of a state folder: `<state>/mlflow/mlflow.db` and `<state>/mlflow/artifacts/`. Creates nothing."""
    folder = state.resolve() / "mlflow"
    return Store(
        tracking_uri=f"{SQLITE}{folder / 'mlflow.db'}",
        artifact_root=(folder / "artifacts" / "runs").as_uri(),
        lock=folder / ".lock",
    )


@contextmanager
def connected(store: Store, doing: str) -> Iterator[Any]:
    """A client (`MlflowClient`) of the store, created with its database on first use.

    MLflow's errors become `PlatformUnavailable` if they are transient, else `PlatformError`; `doing` completes
    "Could not ...".
    """
    exceptions = _load_mlflow().exceptions
    try:
        _ensure_database(store)
        yield _client(store)
    except exceptions.MlflowException as error:
        raise _translated(store, doing, error) from error


def _client(store: Store) -> Any:
    return _load_mlflow().MlflowClient(tracking_uri=store.tracking_uri, registry_uri=store.tracking_uri)


def _load_mlflow() -> Any:
    """Import MLflow without its telemetry (MLflow looks at the variable while it is imported)."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow  # noqa: PLC0415

    for name in NOISY:
        getLogger(name).setLevel(WARNING)
    return mlflow


def _ensure_database(store: Store) -> None:
    """Create the database beside its place and move it there, so that a killed first use leaves no half of one."""
    database = store.database
    if database is None or database.exists():
        return
    with store.hold():
        if not database.exists():
            unfinished = database.with_suffix(".new")
            for stale in database.parent.glob(f"{unfinished.name}*"):  # journals too
                stale.unlink()
            _create_database(unfinished, store.artifact_root)
            unfinished.replace(database)


def _create_database(path: Path, artifact_root: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    created = SqlAlchemyStore(f"{SQLITE}{path}", artifact_root)
    created.engine.dispose()


def _translated(store: Store, doing: str, error: Any) -> PlatformError:
    why = str(error.message).strip().partition("\n")[0]
    if "out-of-date database schema" in why:
        cure = f"Copy the file, then: mlflow db upgrade '{store.tracking_uri}'"
        return PlatformError(f"Could not {doing}: {store.database} was made by another MLflow.", cure=cure)
    remote_failure = store.database is None and error.error_code == "INTERNAL_ERROR"
    kind = PlatformUnavailable if error.error_code in TRANSIENT or remote_failure else PlatformError
    return kind(f"Could not {doing}: {why}")
