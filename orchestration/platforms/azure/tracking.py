"""The workspace's own MLflow as the ledger: runs there, their documents in its blob storage. Why: docs/decisions/0005-….md"""

from __future__ import annotations

from functools import cache

from orchestration.errors import PlatformError
from orchestration.platforms.azure.credentials import ARM_SCOPE
from orchestration.platforms.azure.documents import RunDocuments
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.workspace import Session, open_session
from orchestration.settings import Settings
from orchestration.settings.azure_account import azure_section
from orchestration.tracking import Store

LOCK = ".azure.lock"


def open_azure_store(settings: Settings) -> Store:
    """The workspace's MLflow, whose address the workspace is asked for once; or the server that the settings name.

    Raises `ConfigurationError` and `PlatformError` as every call to the workspace does.
    """
    lock, other = settings.state / "mlflow" / LOCK, azure_section(settings).tracking_uri
    if other is not None:
        return Store(other.rstrip("/"), "", lock)
    session = open_session(settings)
    return Store(_address(session), "", lock, documents=_documents(session), token=lambda: _token(session))


def rest_address(tracking_uri: str) -> str:
    """`azureml://<host>/mlflow/…` as MLflow's plain client calls it. Raises `PlatformError` for anything else."""
    scheme, _, rest = tracking_uri.partition("://")
    if scheme not in ("azureml", "https") or not rest:
        raise PlatformError(f"The workspace names no MLflow server: {tracking_uri or 'nothing'}.")
    return f"https://{rest.partition('?')[0].rstrip('/')}"


@cache
def _address(session: Session) -> str:
    return rest_address(str(session.details().mlflow_tracking_uri or ""))


@cache
def _documents(session: Session) -> RunDocuments:
    return RunDocuments(session)


def _token(session: Session) -> str:
    """A token for now: the credential keeps it as long as it is good."""
    with translated("sign in to the workspace's MLflow"):
        return session.credential.get_token(ARM_SCOPE).token
