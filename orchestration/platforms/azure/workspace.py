"""The clients of one workspace, signed in: made when they are first used, then kept for the life of the process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import cache, cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
from azure.core.exceptions import ResourceNotFoundError
from azure.core.pipeline import policies
from azure.core.pipeline.transport import RequestsTransport
from azure.core.rest import HttpRequest
from azure.mgmt.core import ARMPipelineClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

from orchestration.errors import ConfigurationError
from orchestration.platforms.azure.credentials import ARM_SCOPE, checked, open_credential
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.faults import said
from orchestration.polling import REAL, Clock
from orchestration.settings import Settings
from orchestration.settings.azure_account import SignIn, WorkspaceId, sign_in, workspace_id

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.credentials import TokenCredential
    from azure.mgmt.authorization import AuthorizationManagementClient
    from azure.mgmt.msi import ManagedServiceIdentityClient

    from orchestration.platforms.azure.lease import Lease
    from orchestration.platforms.azure.scoring import Door

ARM = "https://management.azure.com"
REGIONAL = ".api.azureml.ms"  # the end of the names of Azure ML's own services
# A hung connection ends, and with the SDK's own attempts (three, up to 7 s apart) one call stays below some minutes.
OPTIONS: Mapping[str, Any] = {"retry_total": 3, "retry_backoff_max": 10}
CONNECT_SECONDS, READ_SECONDS = 20, 100
LONGEST_PAUSE = 60.0  # seconds
POLLER = "LROPoller("  # how azure-core names the threads that wait for an operation to end


class NotPolled(Exception):
    """Ends the SDK's own waiting for an operation: `polling.wait_until` waits, by the product's clock."""


class Transport(RequestsTransport):  # type: ignore[misc]  # azure-core loads it by __getattr__, so it has no type
    """The connections of all clients. What the SDK's pollers ask is not sent: the steps wait themselves.

    Dropped pollers would go on asking in the background, and some of them print dots on standard output.
    """

    refused = False  # a token was: whoever opens the session next signs in anew

    def __init__(self, clock: Clock) -> None:
        super().__init__(connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        self._clock = clock

    def sleep(self, duration: float) -> None:
        """How the SDK waits before it tries again; an answer may ask for hours, which is for the caller to decide."""
        self._clock.sleep(min(duration, LONGEST_PAUSE))

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Send it, unless a poller asks."""
        if threading.current_thread().name.startswith(POLLER):
            raise NotPolled
        answer = super().send(request, **kwargs)
        self.refused = self.refused or answer.status_code == HTTPStatus.UNAUTHORIZED
        return answer


class Session:
    """One workspace as one identity sees it. Safe to use from several threads.

    `leases` and `doors` are what this process holds and has opened: locks of endpoints, and their keys, in memory only.
    """

    def __init__(self, workspace: WorkspaceId, account: SignIn, *, clock: Clock = REAL) -> None:
        self.workspace = workspace
        self.leases: dict[str, Lease] = {}
        self.doors: dict[str, Door] = {}
        self._account, self._clock = account, clock
        self._making = threading.RLock()
        _quiet()
        self.sign_in()

    def sign_in(self) -> None:
        """Begin with a new credential, which has no old token; calls that are under way go on with theirs."""
        with self._making:
            self.credential: TokenCredential = open_credential(self._account)
            self._transport = Transport(self._clock)
            for client in ("_ml", "_authorization", "_identities", "_arm"):
                self.__dict__.pop(client, None)

    @property
    def refused(self) -> bool:
        """Whether a token was refused since the latest sign-in."""
        return self._transport.refused

    @property
    def ml(self) -> MLClient:
        """Azure Machine Learning's client, without telemetry. Its pollers end at once: drop them."""
        with self._making:
            return self._ml

    @property
    def authorization(self) -> AuthorizationManagementClient:
        """The client for role assignments."""
        with self._making:
            return self._authorization

    @property
    def identities(self) -> ManagedServiceIdentityClient:
        """The client for managed identities."""
        with self._making:
            return self._identities

    @cached_property
    def http(self) -> httpx.Client:
        """Connections to scoring addresses."""
        return httpx.Client()

    def arm(self, method: str, path: str, *, api_version: str, body: Any = None, **query: str) -> Any:
        """One request to Azure Resource Manager: for what the clients have no method for. Returns the answer's JSON.

        Raises what azure-core raises: call it within `errors.translated`.
        """
        return self._ask(method, self._arm.format_url(path), body, {"api-version": api_version, **query})

    def regional(self, method: str, path: str, *, body: Any = None, **query: str) -> Any:
        """The same to the services of the workspace's region. Raises `ConfigurationError` if they are not Azure's."""
        host = urlsplit(str(self.details().discovery_url)).hostname or ""
        if not host.endswith(REGIONAL):  # a token is sent along: nowhere else
            raise ConfigurationError(f"the services of {self.workspace.workspace} are at {host!r}, which is not known.")
        return self._ask(method, f"https://{host}{path}", body, query)

    def _ask(self, method: str, url: str, body: Any, query: Mapping[str, str]) -> Any:
        response = self._arm.send_request(HttpRequest(method, url, params=dict(query), json=body))
        response.raise_for_status()
        return response.json() if response.content else None

    def details(self) -> Any:
        """The workspace as it is now. Raises `ConfigurationError` if it does not exist."""
        with translated(f"read the workspace {self.workspace.workspace}"):
            try:
                return self.ml.workspaces.get(self.workspace.workspace)
            except ResourceNotFoundError as error:
                raise self._missing(error) from error

    def _missing(self, error: ResourceNotFoundError) -> ConfigurationError:
        group, name = self.workspace.resource_group, self.workspace.workspace
        return ConfigurationError(
            f"there is no workspace {name} in the resource group {group}: {said(error).message}",
            cure=f"Next: az ml workspace list -g {group}, then set azure.workspace in config/.",
        )

    @cached_property
    def _ml(self) -> MLClient:
        from azure.ai.ml import MLClient  # noqa: PLC0415 - takes a second

        return MLClient(
            self.credential,
            self.workspace.subscription_id,
            self.workspace.resource_group,
            self.workspace.workspace,
            enable_telemetry=False,
            show_progress=False,
            transport=self._transport,
            **OPTIONS,
        )

    @cached_property
    def _authorization(self) -> AuthorizationManagementClient:
        from azure.mgmt.authorization import AuthorizationManagementClient  # noqa: PLC0415 - only where it is used

        return AuthorizationManagementClient(
            self.credential, self.workspace.subscription_id, transport=self._transport, **OPTIONS
        )

    @cached_property
    def _identities(self) -> ManagedServiceIdentityClient:
        from azure.mgmt.msi import ManagedServiceIdentityClient  # noqa: PLC0415 - only where it is used

        return ManagedServiceIdentityClient(
            self.credential, self.workspace.subscription_id, transport=self._transport, **OPTIONS
        )

    @cached_property
    def _arm(self) -> ARMPipelineClient[Any, Any]:
        steps = [
            policies.RequestIdPolicy(),
            policies.UserAgentPolicy(base_user_agent="sluicegate"),
            policies.RetryPolicy(**OPTIONS),
            ARMChallengeAuthenticationPolicy(self.credential, ARM_SCOPE),
        ]
        return ARMPipelineClient(ARM, policies=steps, transport=self._transport)


def open_session(settings: Settings, *, clock: Clock = REAL) -> Session:
    """The session of an environment; the same one for the same workspace and identity. Connects to nothing."""
    session = _session(workspace_id(settings), checked(settings, sign_in(settings)), clock)
    if session.refused:
        session.sign_in()
    return session


def open_workspace(settings: Settings) -> MLClient:
    """Azure Machine Learning's client for the environment's workspace."""
    return open_session(settings).ml


@cache
def _session(workspace: WorkspaceId, account: SignIn, clock: Clock) -> Session:
    return Session(workspace, account, clock=clock)


def _quiet() -> None:
    """The clients' own chatter: requests with their headers, failures that are raised too, classes that may change."""
    for name in ("azure", "msal"):
        _at_least(name, logging.WARNING)
    for name in ("azure.ai.ml", "azure.identity"):
        _at_least(name, logging.ERROR)


def _at_least(name: str, level: int) -> None:
    logger = logging.getLogger(name)
    logger.setLevel(max(level, logger.level))
