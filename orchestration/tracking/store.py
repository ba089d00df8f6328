"""A tracking store as a value, and the one door to MLflow.

Every call names its store, so two state folders in one process never mix; MLflow's global state is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging import CRITICAL, WARNING, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from orchestration.databases import damage, holds_something
from orchestration.errors import ConfigurationError, PlatformError, PlatformUnavailable, SluiceError
from orchestration.tracking.bearer import authorize

if TYPE_CHECKING:
    from filelock import BaseFileLock

SQLITE = "sqlite:///"
TRANSIENT = frozenset({"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"})
NOISY = {"mlflow.store.db.utils": CRITICAL, "alembic": WARNING}  # what the first says of an error, we say in a line
NO_ACCESS = frozenset({"AuthorizationError", "AuthenticationError", "ForbiddenError"})  # of Azure's flow services


class Documents(Protocol):
    """A place for the files of runs beside a server that takes none from MLflow's plain client.

    Names are relative to the run, with `/`. Raises `PlatformError`s only.
    """

    def read(self, run_id: str, name: str) -> bytes | None:
        """The file's bytes; None if there is none."""

    def names(self, run_id: str, folder: str) -> list[str]:
        """Names of the files in a folder of the run, not below it; `.` is the run's own."""

    def write(self, run_id: str, contents: Mapping[str, bytes]) -> None:
        """Store each content under its name, whole or not at all; what is there already is replaced."""


@dataclass(frozen=True, slots=True)
class Store:
    """An MLflow tracking server or database.

    `artifact_root` is the address below which each run has its folder; empty leaves that to the server. `lock` is
    a file of this machine: whoever looks something up in order to create it holds it, so that two processes don't
    create the same thing twice. `documents` is where artifacts are if the server can't keep them, `token` gives the
    bearer token that the server wants.
    """

    tracking_uri: str
    artifact_root: str
    lock: Path
    documents: Documents | None = field(default=None, compare=False)
    token: Callable[[], str] | None = field(default=None, compare=False, repr=False)

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
        """Whether the store was never used, or emptied: known without MLflow for a local one only."""
        return self.database is not None and not holds_something(self.database)

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


def check_store(store: Store) -> None:
    """Raises `PlatformError` if the store's database can't be read: MLflow would try for minutes."""
    if store.database is not None and (problem := damage(store.database)):
        raise _unreadable(store, problem)


@contextmanager
def connected(store: Store, doing: str) -> Iterator[Any]:
    """A client (`MlflowClient`) of the store, created with its database on first use.

    MLflow's errors become `PlatformUnavailable` if they are transient, else `PlatformError`; `doing` completes
    "Could not ...".
    """
    check_store(store)
    exceptions = _load_mlflow().exceptions
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - MLflow's, and as slow

    try:
        _ensure_database(store)
        yield _client(store)
    except exceptions.MlflowException as error:
        raise _translated(store, doing, error) from error
    except SQLAlchemyError as error:  # MLflow wraps those of a session, not those before it
        raise _unreadable(store, str(error).partition("\n")[0]) from error


def _client(store: Store) -> Any:
    if store.token is not None:
        store.token()  # a sign-in that fails says so here, in its own words
        authorize(store.tracking_uri, store.token)
    return _load_mlflow().MlflowClient(tracking_uri=store.tracking_uri, registry_uri=store.tracking_uri)


def _load_mlflow() -> Any:
    """Import MLflow without its telemetry (MLflow looks at the variable while it is imported)."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # standard output is the command line's
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # a dozen seconds; by itself it tries for minutes
    import mlflow  # noqa: PLC0415

    for name, level in NOISY.items():
        getLogger(name).setLevel(level)
    return mlflow


def _ensure_database(store: Store) -> None:
    """Create the database beside its place and move it there, so that a killed first use leaves no half of one."""
    database = store.database
    if database is None or not store.empty:
        return
    with store.hold():
        if store.empty:
            unfinished = database.with_suffix(".new")
            for stale in database.parent.glob(f"{unfinished.name}*"):  # journals too
                stale.unlink()
            for stale in database.parent.glob(f"{database.name}-*"):  # of a lost one: sqlite would apply them to this
                stale.unlink()
            _create_database(unfinished, store.artifact_root)
            unfinished.replace(database)


def _create_database(path: Path, artifact_root: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    created = SqlAlchemyStore(f"{SQLITE}{path}", artifact_root)
    created.engine.dispose()


def _unreadable(store: Store, why: str) -> PlatformError:
    cure = "Put a copy in its place; or move it away, and the next run records and registers anew."
    return PlatformError(f"MLflow's database {store.database or store.tracking_uri} can't be used: {why}.", cure=cure)


def _translated(store: Store, doing: str, error: Any) -> SluiceError:
    why = str(error.message).strip().partition("\n")[0]
    said = getattr(error, "json", {}).get("error")
    if isinstance(said, Mapping):
        return _refused(doing, said)
    if "out-of-date database schema" in why:
        cure = f"Copy the file, then: mlflow db upgrade '{store.tracking_uri}'"
        return PlatformError(f"Could not {doing}: {store.database} was made by another MLflow.", cure=cure)
    remote_failure = store.database is None and error.error_code == "INTERNAL_ERROR"
    kind = PlatformUnavailable if error.error_code in TRANSIENT or remote_failure else PlatformError
    return kind(f"Could not {doing}: {why}")


def _refused(doing: str, said: Mapping[str, Any]) -> SluiceError:
    """What a workspace's MLflow answers where MLflow's own server would send an error code."""
    inner = said.get("innerError")
    code = str(inner.get("code") if isinstance(inner, Mapping) else said.get("code"))
    text = f"Could not {doing}: {said.get('message') or code}".partition("\n")[0]
    if code in NO_ACCESS:
        return ConfigurationError(text, cure="The role AzureML Data Scientist allows it; next: sluice doctor")
    return PlatformError(text) if said.get("code") == "UserError" else PlatformUnavailable(text)
