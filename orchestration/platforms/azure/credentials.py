"""Who signs in to Azure: exactly the kind that the settings name, never the first one that a machine happens to have."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.errors import ConfigurationError
from orchestration.settings import Settings
from orchestration.settings.azure_account import SignIn, sign_in

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, AccessTokenInfo, TokenCredential, TokenRequestOptions

ARM_SCOPE = "https://management.azure.com/.default"
CLI_SECONDS = 30
RENEW_BEFORE = 300.0  # seconds before its end from which on a token is not used any more
# What each kind can't do without; what the environment of a workload identity provides stands in TOKEN_VARIABLES.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "cli": (),
    "client_secret": ("tenant_id", "client_id", "client_secret"),
    "certificate": ("tenant_id", "client_id", "certificate"),
    "workload_identity": (),
    "managed_identity": (),
}
TOKEN_VARIABLES = {"tenant_id": "AZURE_TENANT_ID", "client_id": "AZURE_CLIENT_ID"}
TOKEN_FILE = "AZURE_FEDERATED_TOKEN_FILE"  # noqa: S105 - the name of a variable


def credential(settings: Settings) -> TokenCredential:
    """The identity that `azure.credential` names. Calls nobody; raises `ConfigurationError` for a part that is missing."""
    return open_credential(checked(settings, sign_in(settings)))


def checked(settings: Settings, account: SignIn) -> SignIn:
    """The sign-in, if nothing is missing that its kind needs. Raises `ConfigurationError` with the key's place."""
    for part in NEEDED[account.kind]:
        if not getattr(account, part):
            raise ConfigurationError(
                f"the credential kind {account.kind} needs {part}.",
                at=settings.at("azure", "credential", part),
                cure=f"Write azure.credential.{part}, or name another kind.",
            )
    if account.kind == "workload_identity":
        _check_workload(settings, account)
    return account


def open_credential(account: SignIn) -> TokenCredential:
    """The credential of azure-identity for a checked sign-in."""
    from azure import identity  # noqa: PLC0415 - only where Azure is used

    secret = account.client_secret.reveal() if account.client_secret else ""
    kinds: Mapping[str, Callable[[], Any]] = {
        "cli": lambda: Remembering(
            identity.AzureCliCredential(tenant_id=account.tenant_id, process_timeout=CLI_SECONDS)
        ),
        "client_secret": lambda: identity.ClientSecretCredential(account.tenant_id, account.client_id, secret),
        "certificate": lambda: _certificate(account),
        "workload_identity": lambda: identity.WorkloadIdentityCredential(
            tenant_id=account.tenant_id or None, client_id=account.client_id or None
        ),
        "managed_identity": lambda: identity.ManagedIdentityCredential(client_id=account.client_id or None),
    }
    opened: TokenCredential = kinds[account.kind]()
    return opened


class Remembering:
    """A credential that keeps its tokens while they are good: `az` takes a second for each, and is asked by many."""

    def __init__(self, inner: Any, *, now: Callable[[], float] = time.time) -> None:
        self._inner, self._now = inner, now
        self._kept: dict[tuple[str, ...], AccessTokenInfo] = {}
        self._lock = threading.Lock()

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """A token for the scopes, good for five minutes at least."""
        if options:  # a claim or another tenant: not what was kept
            return self._inner.get_token_info(*scopes, options=options)  # type: ignore[no-any-return]
        with self._lock:
            kept = self._kept.get(scopes)
            if kept is None or kept.expires_on - self._now() < RENEW_BEFORE:
                kept = self._kept[scopes] = self._inner.get_token_info(*scopes)
            return kept

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """The same for clients that know only the older protocol."""
        from azure.core.credentials import AccessToken  # noqa: PLC0415 - only where Azure is used

        found = self.get_token_info(*scopes)
        return AccessToken(found.token, found.expires_on)


def _certificate(account: SignIn) -> Any:
    from azure.identity import CertificateCredential  # noqa: PLC0415 - only where Azure is used

    try:
        return CertificateCredential(account.tenant_id, account.client_id, str(account.certificate))
    except ValueError as error:  # its text may quote the file
        raise ConfigurationError(
            f"{account.certificate} holds no certificate with its private key.",
            cure="azure.credential.certificate is a PEM or PKCS12 file without a password.",
        ) from error


def _check_workload(settings: Settings, account: SignIn) -> None:
    """A workload identity gets its parts from the machine that runs it, unless the settings have them."""
    missing = [
        name for part, name in TOKEN_VARIABLES.items() if not getattr(account, part) and not os.environ.get(name)
    ]
    file = os.environ.get(TOKEN_FILE, "")
    if not file:
        missing.append(TOKEN_FILE)
    at = settings.at("azure", "credential", "kind")
    if missing:
        raise ConfigurationError(
            f"a workload identity needs {' and '.join(missing)} in the environment.",
            at=at,
            cure="Kubernetes and CI set them for a workload with a federated identity; elsewhere name another kind.",
        )
    if not Path(file).is_file():
        raise ConfigurationError(f"{TOKEN_FILE} names {file}, which is no file.", at=at)
