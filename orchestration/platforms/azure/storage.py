"""The workspace's default blob container: what opens it is asked for at the workspace, so no role on the storage is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.workspace import Session

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

API: Final = "2024-10-01-preview"
HOURS: Final = 1  # that a token of the storage is good for


@dataclass(frozen=True, slots=True)
class Storage:
    """The container of the default datastore, and its address without what opens it."""

    datastore: str
    url: str
    container: ContainerClient


def open_container(session: Session) -> ContainerClient:
    """A client of the container. Raises `PlatformError` or `ConfigurationError` if the workspace does not give access."""
    return open_storage(session).container


def open_storage(session: Session) -> Storage:
    """The container with the name of its datastore. Raises as `open_container` does."""
    from azure.storage.blob import ContainerClient, ExponentialRetry  # noqa: PLC0415 - only where it is used

    datastore, store, access = _default_store(session)
    protocol, endpoint = store.get("protocol") or "https", store.get("endpoint") or "core.windows.net"
    account, container = f"{protocol}://{store['accountName']}.blob.{endpoint}", str(store["containerName"])
    client = ContainerClient(
        account,
        container,
        credential=access,
        retry_policy=ExponentialRetry(initial_backoff=1, increment_base=2, retry_total=2),
        connection_timeout=10,
        read_timeout=20,
    )
    return Storage(datastore, f"{account}/{container}", client)


def _default_store(session: Session) -> tuple[str, dict[str, Any], Any]:
    """The default datastore by name, and what opens it: a token of the storage, a key, or our own sign-in."""
    stores = f"{session.workspace.arm_id}/datastores"
    with translated("read the workspace's default datastore"):
        found = session.arm("GET", stores, api_version=API, isDefault="true")["value"][0]
        store: dict[str, Any] = found["properties"]
        if (store.get("credentials") or {}).get("credentialsType") == "None":
            return str(found["name"]), store, session.credential
        wanted = {"expirableSecret": True, "expireAfterHours": HOURS}
        secrets = session.arm("POST", f"{stores}/{found['name']}/listSecrets", api_version=API, body=wanted)
    return str(found["name"]), store, secrets.get("sasToken") or secrets.get("key")
