"""What is wrong between the keys of `azure:`, each of which is right by itself. Nothing here calls Azure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestration.references import Reference
from orchestration.settings.azure import AzureCredential, AzureSettings
from orchestration.settings.checks import address_problem
from orchestration.settings.model import Settings
from orchestration.validation import GUID, PATTERNS, Problem

# The keys of each kind of credential: what it needs, and what it may have.
NEEDED = {
    "client_secret": ("tenant_id", "client_id", "client_secret"),
    "certificate": ("tenant_id", "client_id", "certificate"),
    "block": ("name",),
}
ALLOWED = {
    "cli": ("tenant_id",),
    "workload_identity": ("tenant_id", "client_id"),
    "managed_identity": ("client_id",),
} | NEEDED
DOMAIN = re.compile(r"[\w-]+(\.[\w-]+)+")
WORKER = "worker"
SECTION = "azure: {subscription_id: …, resource_group: …, workspace: …, credential: {kind: cli}}"


def azure_problems(settings: Settings) -> Iterator[Problem]:
    """Everything that the schema of single keys can't say, in the order of the file."""
    if settings.azure is None:
        if settings.platform == "azure":
            message = "the platform 'azure' needs the section azure."
            yield Problem(("platform",), message, f"Add {SECTION}; docs/azure-setup.md explains it.")
        if settings.place != WORKER:
            message = f"the place {settings.place!r} needs the section azure."
            yield Problem(("place",), message, f"Add {SECTION}; docs/azure-setup.md explains it.")
        yield from _connections_without_workspace(settings)
        return
    yield from _ids(settings.azure)
    if settings.place != WORKER:
        yield from _place(settings)
    yield from _credential(settings.azure.credential)
    if settings.azure.tracking_uri is not None:
        problem = address_problem(settings.azure.tracking_uri, encrypted=False)
        if problem:
            yield Problem(("azure", "tracking_uri"), problem, "Write an MLflow server's address, or null.")


def _place(settings: Settings) -> Iterator[Problem]:
    """What an evaluation in the cloud can't do: it doesn't pass the model proxy."""
    if settings.platform != "azure":
        yield Problem(("place",), f"the place {settings.place!r} needs the platform azure.", "Write platform: azure.")
    for key in ("max_tokens", "max_price"):
        if getattr(settings.evaluation, key) is not None:
            message = f"a spending ceiling can't be kept to at the place {settings.place!r}."
            yield Problem(("evaluation", key), message, "Leave it out, or write place: worker.")


def _connections_without_workspace(settings: Settings) -> Iterator[Problem]:
    for name, connection in settings.connections.items():
        if connection.kind == "workspace":
            message = "a connection of kind workspace needs the section azure, which names the workspace."
            yield Problem(("connections", name, "kind"), message, f"Add {SECTION}.")


def _ids(azure: AzureSettings) -> Iterator[Problem]:
    credential = azure.credential
    yield from _id(("azure", "subscription_id"), azure.subscription_id, "az account show --query id")
    yield from _id(("azure", "credential", "client_id"), credential.client_id, "az ad sp list --show-mine")
    tenant = credential.tenant_id
    if not (isinstance(tenant, str) and DOMAIN.fullmatch(tenant)):
        yield from _id(("azure", "credential", "tenant_id"), tenant, "az account show --query tenantId")


def _id(loc: tuple[str, ...], value: str | Reference | None, command: str) -> Iterator[Problem]:
    """What stands in the file; a reference is looked at when it is resolved. Not repeated: it may be a key."""
    if isinstance(value, str) and not re.fullmatch(GUID, value):
        yield Problem(loc, f"is not {PATTERNS[GUID]}.", f"Next: {command}")


def _credential(credential: AzureCredential) -> Iterator[Problem]:
    kind, given = credential.kind, credential.model_fields_set - {"kind"}
    for key in sorted(given - set(ALLOWED[kind])):
        allows = f"It has {', '.join(ALLOWED[kind])}."
        yield Problem(("azure", "credential", key), f"a credential of kind {kind} has no {key!r}.", allows)
    for key in NEEDED.get(kind, ()):
        if getattr(credential, key) is None:
            message = f"a credential of kind {kind} needs {key!r}."
            yield Problem(("azure", "credential", key), message, f"It has {', '.join(ALLOWED[kind])}.")
