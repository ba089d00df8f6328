"""A workspace connection as the model proxy and prompt flows need it, and its creation from what a user gives."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from orchestration.errors import ConfigurationError
from orchestration.model_proxy.upstream import Prices, Upstream
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.workspace import open_session
from orchestration.platforms.azure.workspace_connections import Custom, Model, read, write
from orchestration.settings import Connection, Settings
from orchestration.values import Json

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

SCOPE: Final = "https://cognitiveservices.azure.com/.default"
RENEW_BEFORE: Final = 300.0  # seconds before its end from which on a token is not used any more


def opened(settings: Settings, connection: Connection) -> Upstream | dict[str, Json]:
    """What a connection of kind `workspace` leads to: a model, or the values of a custom connection, in clear text.

    Raises `ConfigurationError`: absent in the workspace, or nothing that a prompt flow can use; `PlatformError`.
    """
    session = open_session(settings)
    found = read(session, _name(connection))
    if isinstance(found, Custom):
        return {"type": "custom", "values": dict[str, Json](found.values), "secrets": dict[str, Json](found.secrets)}
    return _upstream(found, connection, session.credential)


def create(
    settings: Settings,
    name: str,
    *,
    kind: str,
    base_url: str = "",
    api_version: str | None = None,
    key: str | None = None,
    values: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> None:
    """Create the workspace connection `name`, or rotate it: the same call with another key.

    `kind`: `azure_openai`, `openai` or `custom`. Without a `key`, Azure OpenAI is called with Entra tokens. Raises
    `ConfigurationError`, `PlatformError`.
    """
    session = open_session(settings)
    if kind == "custom":
        write(session, name, Custom(values or {}, secrets or {}))
    elif kind == "azure_openai":
        write(session, name, Model("azure_openai", base_url.rstrip("/"), key, api_version))
    elif kind == "openai" and key:
        write(session, name, Model("openai", base_url.rstrip("/"), key))
    else:
        message = "needs a key." if kind == "openai" else f"is of kind {kind!r}, which a workspace can't keep."
        raise ConfigurationError(f"the connection {name} {message}")


class SignedIn:
    """The header with which Azure OpenAI takes a call of an Entra identity; a token is kept until shortly before its end.

    For `Upstream.authorize`. Raises a `SluiceError` if the sign-in fails.
    """

    def __init__(self, credential: TokenCredential, *, now: Callable[[], float] = time.time) -> None:
        self._credential, self._now = credential, now
        self._token: AccessToken | None = None
        self._lock = threading.Lock()

    async def __call__(self) -> Mapping[str, str]:
        """The header for one request."""
        token = self._token
        if token is None or token.expires_on - self._now() < RENEW_BEFORE:
            token = await asyncio.to_thread(self._renewed)
        return {"Authorization": f"Bearer {token.token}"}

    def _renewed(self) -> AccessToken:
        with self._lock:  # many rows notice at once, one asks
            if self._token is None or self._token.expires_on - self._now() < RENEW_BEFORE:
                with translated("sign in for model calls"):
                    self._token = self._credential.get_token(SCOPE)
            return self._token


def _upstream(found: Model, connection: Connection, credential: TokenCredential) -> Upstream:
    prices = connection.prices
    return Upstream(
        kind=found.kind,
        base_url=found.base_url,
        api_version=found.api_version,
        deployment=connection.model_deployment,
        api_key=found.key,
        requests_per_minute=connection.requests_per_minute,
        tokens_per_minute=connection.tokens_per_minute,
        prices=Prices(**prices.model_dump()) if prices else None,
        authorize=SignedIn(credential) if found.key is None else None,
    )


def _name(connection: Connection) -> str:
    return str(connection.name)
