"""The one lock of an endpoint: a lease on a blob in the workspace's storage, which lapses when its holder dies.

Who holds it stands in the blob's metadata. A holder that was asleep for longer than its lease finds out before it
writes: `Lease.check` renews, and a lease that somebody else got meanwhile can't be renewed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from orchestration.errors import EndpointHeld, SluiceError
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.faults import one_line
from orchestration.platforms.azure.storage import open_container
from orchestration.platforms.azure.workspace import Session

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobLeaseClient

FOLDER = "sluice/locks"
SECONDS = 60  # Azure allows 15 to 60
RENEW_EVERY = 15.0  # seconds: three attempts fail before a lease lapses
HELD = frozenset({"LeaseAlreadyPresent", "LeaseAlreadyBroken", "LeaseIsBreakingAndCannotBeAcquired"})
TAKEN = frozenset({404, 409, 412})  # by another, or broken by hand
CURE = "Try again when that has ended."
_log = logging.getLogger(__name__)


class Lease:
    """The lock of one endpoint while it is held. A thread renews it; a lost connection is made up for by the next try."""

    def __init__(self, session: Session, endpoint: str) -> None:
        self.endpoint = endpoint
        self._session = session
        self._blob = _open_blob(session, endpoint)
        self._lease: BlobLeaseClient
        self._lost, self._ended = False, threading.Event()
        self._renewing = threading.Lock()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{endpoint}", daemon=True)

    def acquire(self, owner: str) -> None:
        """Take it. Raises `EndpointHeld`, naming the holder, if it is taken."""
        with translated(f"take the lock of the endpoint {self.endpoint}"):
            try:
                self._lease = self._acquired()
            except HttpResponseError as error:
                if str(getattr(error, "error_code", "")) not in HELD:
                    raise
                raise self._held() from error
        with contextlib.suppress(AzureError):  # who holds it is for people: without the card it is "another run"
            self._blob.set_blob_metadata(_card(owner), lease=self._lease)
        self._thread.start()

    def check(self) -> None:
        """Renew it now, before something is written under it. Raises `EndpointHeld` if it was lost."""
        with translated(f"renew the lock of the endpoint {self.endpoint}"), self._renewing:
            self._renew()
        if self._lost:
            raise self._held()

    def release(self) -> None:
        """Give it back. If that fails it lapses by itself."""
        self._ended.set()
        self._thread.join()
        if self._lost:
            return
        try:
            self._lease.release()
        except AzureError as error:
            _log.warning(
                "The lock of the endpoint %s ends by itself in %d s: %s", self.endpoint, SECONDS, one_line(error)
            )

    def _acquired(self) -> BlobLeaseClient:
        try:
            return self._blob.acquire_lease(SECONDS)
        except ResourceNotFoundError:
            with contextlib.suppress(
                ResourceExistsError, ResourceModifiedError
            ):  # another release made it, or holds it
                self._blob.upload_blob(b"", overwrite=False)
            return self._blob.acquire_lease(SECONDS)

    def _keep(self) -> None:
        while not self._lost and not self._ended.wait(RENEW_EVERY):
            try:
                with self._renewing:
                    self._renew()
            except (AzureError, SluiceError) as error:  # the next try may succeed before it lapses
                _log.warning("The lock of the endpoint %s could not be renewed: %s", self.endpoint, one_line(error))

    def _renew(self) -> None:
        """Renew it, with new access to the storage if the old one has expired; notes when somebody else has it."""
        try:
            self._renew_once()
        except HttpResponseError as error:
            if error.status_code != HTTPStatus.FORBIDDEN:
                raise
            self._blob = _open_blob(self._session, self.endpoint)
            self._lease = type(self._lease)(self._blob, self._lease.id)
            self._renew_once()

    def _renew_once(self) -> None:
        try:
            self._lease.renew()
        except HttpResponseError as error:
            if error.status_code not in TAKEN:
                raise
            self._lost = True

    def _held(self) -> EndpointHeld:
        return EndpointHeld(f"The endpoint {self.endpoint} is held by {self._holder()}.", cure=CURE)

    def _holder(self) -> str:
        try:
            card = self._blob.get_blob_properties().metadata or {}
        except AzureError:
            card = {}
        if not {"owner", "host", "pid", "since"} <= card.keys():
            return "another run"  # it took the lock a moment ago
        return f"{unquote(card['owner'])} ({card['host']}, pid {card['pid']}, since {card['since']})"


@contextlib.contextmanager
def held(session: Session, endpoint: str, owner: str) -> Iterator[None]:
    """Hold the endpoint for the length of the block. Raises `EndpointHeld`, naming the holder, if it is held."""
    lease = Lease(session, endpoint)
    lease.acquire(owner)
    session.leases[endpoint] = lease
    try:
        yield
    finally:
        session.leases.pop(endpoint, None)
        lease.release()


def check_lease(session: Session, endpoint: str) -> None:
    """Raises `EndpointHeld` if this process held the endpoint and has lost it. One that never held it may write."""
    lease = session.leases.get(endpoint)
    if lease is not None:
        lease.check()


def _card(owner: str) -> dict[str, str]:
    """Who holds it, as headers may say it."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"owner": quote(owner, safe=" "), "host": socket.gethostname(), "pid": str(os.getpid()), "since": since}


def _open_blob(session: Session, endpoint: str) -> BlobClient:
    return open_container(session).get_blob_client(f"{FOLDER}/{endpoint}")
