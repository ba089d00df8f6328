"""How Azure's refusals are told apart: one table of kinds by status, code and message. No I/O.

A real service names the cause in the code, in an inner code, or only at the beginning of the message, as in
"(None) ResourceNotReady: User container has crashed".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import HttpResponseError

from orchestration.errors import (
    ConfigurationError,
    PlatformConflict,
    PlatformUnavailable,
    ProvisioningFailed,
    ResourceNotFound,
    ResourceRefused,
    SluiceError,
)

LONGEST = 500
PREFIX = re.compile(r"(?:\(\w+\)\s*)?([A-Z][A-Za-z]+):\s")
SECRETS = re.compile(r"(?i)(\bsig=|\bbearer\s+|\baccountkey=|\bapi[-_]key[\"']?\s*[:=]\s*[\"']?)[^\s&\"',;<>]+")
NOISE = re.compile(r"\s*(?:Trace ID|Correlation ID|To troubleshoot|To mitigate this issue|Content:).*", re.DOTALL)

QUOTA_CURE = "Ask for quota (az ml compute list-usage), or set a smaller instance_type or instance_count."
ROLE_CURE = "docs/azure-setup.md names the role that each step needs; next: sluice doctor"
AGAIN = "Run the same command again."
NEW_SECRET = "Make a new one (az ad app credential reset) and set azure.credential.client_secret."  # noqa: S105 - advice


@dataclass(frozen=True, slots=True)
class Said:
    """What a refusal says: status, every code from the outermost inwards, and the message in one line."""

    status: int | None
    codes: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        name = self.codes[-1] if self.codes else str(self.status or "")
        return self.message if name in self.message else f"{name}: {self.message}"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of refusal: what it is for us and the way out of it. `token`: a new sign-in may be all it needs."""

    error: type[SluiceError]
    cure: str = ""
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    message: str = r"(?!)"
    token: bool = False

    def fits(self, answer: Said) -> bool:
        """Whether the answer is of this kind."""
        if answer.status in self.statuses or not self.codes.isdisjoint(answer.codes):
            return True
        return re.search(self.message, answer.message, re.IGNORECASE) is not None


def _codes(*names: str) -> frozenset[str]:
    return frozenset(names)


# The first that fits wins: what is said comes before the status, which the service does not always choose well.
KINDS = (
    Kind(
        ProvisioningFailed,
        QUOTA_CURE,
        codes=_codes("OutOfQuota", "QuotaExceeded", "OutOfCapacity", "InsufficientQuota", "SkuNotAvailable"),
        message=r"not enough (?:\S+ )?quota|quota (?:was )?exceeded|exceed\w* (?:\w+ )*quota",
    ),
    Kind(
        ResourceRefused,
        "Names are shared by a whole region: set another endpoint.name in config/.",
        message=r"unique within (?:a|the) region",
    ),
    Kind(
        ResourceRefused,
        "Remove that role assignment by hand: az role assignment list",
        codes=_codes("RoleAssignmentUpdateNotPermitted"),
    ),
    Kind(
        PlatformConflict,
        AGAIN,
        codes=_codes("OperationCanceled", "AnotherOperationInProgress", "ResourceNotReadyForOperation"),
        message=r"in \w+ing provisioning state|another operation|conflict of operation|is already running in workspace",
    ),
    Kind(
        PlatformConflict,
        "Azure tells a new identity to its directories within minutes.",
        codes=_codes("PrincipalNotFound"),
    ),
    Kind(
        ConfigurationError,
        "Check azure.subscription_id, azure.resource_group and azure.workspace; az ml workspace list names them.",
        codes=_codes("SubscriptionNotFound", "InvalidSubscriptionId", "ResourceGroupNotFound", "MissingSubscription"),
        message=r"MachineLearningServices/workspaces/[^/'\"]+['\"]? (?:under resource group \S+ was not|could not be) found",
    ),
    Kind(ConfigurationError, NEW_SECRET, message=r"AADSTS7000(?:215|222)"),
    Kind(
        ConfigurationError, "Check azure.credential.client_id and tenant_id.", message=r"AADSTS(?:700016|90002|900023)"
    ),
    Kind(ConfigurationError, "Next: az login", message=r"az login|AADSTS(?:50173|700082|70043)"),
    Kind(
        ConfigurationError,
        "Install the Azure CLI, or name another azure.credential.kind.",
        message=r"azure cli not found",
    ),
    Kind(
        PlatformUnavailable,
        "The next attempt signs in anew.",
        codes=_codes("ExpiredAuthenticationToken", "InvalidAuthenticationToken"),
        token=True,
    ),
    Kind(ConfigurationError, ROLE_CURE, statuses=frozenset({401, 403}), codes=_codes("AuthorizationFailed")),
    Kind(ResourceNotFound, AGAIN, statuses=frozenset({404})),
    Kind(PlatformConflict, AGAIN, statuses=frozenset({409, 412, 423})),
    Kind(PlatformUnavailable, AGAIN, statuses=frozenset({408, 429, 500, 502, 503, 504})),
)

# Why an online deployment failed, and what to do: the codes of managed online endpoints.
FAILURES: Mapping[str, str] = {
    "ImageBuildFailure": "Read the end of azureml/ImageLogs/<id>/build.log in the workspace's blob storage.",
    "OutOfQuota": QUOTA_CURE,
    "QuotaExceeded": QUOTA_CURE,
    "OutOfCapacity": "Wait, or set another instance_type or region.",
    "BadArgument": "Check that the endpoint's identity has AcrPull and Storage Blob Data Reader, and that image and model exist.",
    "BadRequest": "Check deployments/ against the message.",
    "ResourceNotReady": "The container crashed or failed its probes; the reason is in its log.",
    "ResourceNotFound": "Something that it names does not exist, or its image's registry is private.",
    "OperationCanceled": AGAIN,
    "InternalServerError": AGAIN,
    "AuthorizationFailed": ROLE_CURE,
}


def find_kind(answer: Said) -> Kind | None:
    """The kind of a refusal; None for one that only its message explains."""
    return next((kind for kind in KINDS if kind.fits(answer)), None)


def explained(answer: Said) -> str:
    """Why a resource failed, with the next thing to do: `ImageBuildFailure: pip found no … Read the end of …`."""
    cure = next((FAILURES[code] for code in reversed(answer.codes) if code in FAILURES), "")
    return f"{str(answer).rstrip('.')}. {cure}".strip()


def said(error: HttpResponseError) -> Said:
    """What an error's response says, of ARM, of the prompt flow services, of storage and of the sign-in."""
    answer = _parsed(error)
    if answer is not None:
        return said_by(answer, status=error.status_code)
    code = getattr(error, "error_code", None)
    return Said(error.status_code, (str(code),) if code else (), one_line(error.message))


def said_by(body: Any, *, status: int | None = None) -> Said:
    """What the body of a refusal says, or that of a failed operation."""
    node = body.get("error", body) if isinstance(body, Mapping) else {}
    node = node if isinstance(node, Mapping) else {}
    message = one_line(node.get("message") or "no reason given")
    return Said(status, tuple(dict.fromkeys([*_inwards(node), *_prefixed(message)])), message)


def one_line(text: object) -> str:
    """Any text in one line of bounded length, without tokens, keys and the noise behind the message."""
    flat = " ".join(SECRETS.sub(r"\1***", NOISE.sub("", str(text))).split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"


def _parsed(error: HttpResponseError) -> Mapping[str, Any] | None:
    try:
        body = json.loads(error.response.text()) if error.response is not None else None
    except (ValueError, RuntimeError, AttributeError):  # no JSON; or a body that nobody read and nobody can read now
        return None
    return body if isinstance(body, Mapping) and ("error" in body or "message" in body) else None


def _inwards(node: Mapping[str, Any]) -> Iterator[str]:
    """The codes of an error and of its inner errors."""
    inner: Any = node
    while isinstance(inner, Mapping):
        if inner.get("code"):
            yield str(inner["code"])
        inner = inner.get("innerError") or inner.get("innererror")


def _prefixed(message: str) -> Iterator[str]:
    found = PREFIX.match(message)
    if found and found[1] in FAILURES:
        yield found[1]
