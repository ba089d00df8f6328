"""The clients of one workspace, signed in: made when they are first used, then kept for the life of the process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import cache, cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

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

    from orchestration.platforms.azure.lease import Lease
    from orchestration.platforms.azure.scoring import Door

ARM = "https://management.azure.com"
# A hung connection ends, and with the SDK's own attempts (three, up to 7 s apart) one call stays below some minutes.
OPTIONS: Mapping[str, Any] = {"retry_total": 3, "retry_backoff_max": 10}
CONNECT_SECONDS, READ_SECONDS = 20, 100
POLLER = "LROPoller("  # how azure-core names the threads that wait for an operation to end


class NotPolled(Exception):
    """Ends the SDK's own waiting for an operation: `polling.wait_until` waits, by the product's clock."""


class Transport(RequestsTransport):  # type: ignore[misc]  # azure-core loads it by __getattr__, so it has no type
    """The connections of all clients. What the SDK's pollers ask is not sent: the steps wait themselves.

    Dropped pollers would go on asking in the background, and some of them print dots on standard output.
    """

    refused = False  # a token was: the next session signs in anew

    def __init__(self, clock: Clock) -> None:
        super().__init__(connection_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        self._clock = clock

    def sleep(self, duration: float) -> None:
        """How the SDK waits before it tries again."""
        self._clock.sleep(duration)

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

    def __init__(self, workspace: WorkspaceId, credential: TokenCredential, *, clock: Clock = REAL) -> None:
        self.workspace, self.credential = workspace, credential
        self.leases: dict[str, Lease] = {}
        self.doors: dict[str, Door] = {}
        self._transport = Transport(clock)
        self._making = threading.RLock()

    @property
    def refused(self) -> bool:
        """Whether a token of this session was refused."""
        return self._transport.refused

    @property
    def ml(self) -> MLClient:
        """Azure Machine Learning's client, without telemetry."""
        with self._making:
            return self._ml

    @property
    def authorization(self) -> AuthorizationManagementClient:
        """The client for role assignments."""
        with self._making:
            return self._authorization

    @cached_property
    def http(self) -> httpx.Client:
        """Connections to scoring addresses."""
        return httpx.Client()

    def arm(self, method: str, path: str, *, api_version: str, body: Any = None, **query: str) -> Any:
        """One request to Azure Resource Manager: for what the clients have no method for. Returns the answer's JSON.

        Raises what azure-core raises: call it within `errors.translated`.
        """
        url = self._arm.format_url(path)
        request = HttpRequest(method, url, params={"api-version": api_version, **query}, json=body)
        response = self._arm.send_request(request)
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

        _quiet()
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
    workspace, account = workspace_id(settings), checked(settings, sign_in(settings))
    if _session(workspace, account, clock).refused:
        _session.cache_clear()
    return _session(workspace, account, clock)


def open_workspace(settings: Settings) -> MLClient:
    """Azure Machine Learning's client for the environment's workspace."""
    return open_session(settings).ml


@cache
def _session(workspace: WorkspaceId, account: SignIn, clock: Clock) -> Session:
    return Session(workspace, open_credential(account), clock=clock)


def _quiet() -> None:
    """The clients' own chatter: requests with their headers, and notes about classes that may change."""
    for name, level in (("azure", logging.WARNING), ("azure.ai.ml", logging.ERROR), ("msal", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(max(level, logger.level))
