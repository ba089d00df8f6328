"""What a deployment's containers printed, without secrets."""

from __future__ import annotations

from collections.abc import Iterator

from orchestration.errors import ConfigurationError, PlatformError, ResourceNotFound
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.faults import SECRETS
from orchestration.platforms.azure.workspace import Session
from orchestration.platforms.azure.workspace_connections import Custom, read
from orchestration.redaction import Redactor
from orchestration.settings import Settings
from orchestration.settings.azure_account import sign_in

CONTAINERS = ("storage-initializer", "inference-server")  # in the order in which they run


def logs(session: Session, settings: Settings, endpoint: str, name: str, lines: int) -> str:
    """The last lines of both containers. What can't be read says why: the failure that it explains counts more."""
    texts = {each: _of(session, endpoint, name, each, lines) for each in CONTAINERS}
    printed = [f"--- {container}\n{text.rstrip()}" for container, text in texts.items() if text.strip()]
    return redacted(session, settings, endpoint, "\n".join(printed)) if printed else ""


def redacted(session: Session, settings: Settings, endpoint: str, text: str) -> str:
    """The text without the endpoint's key, what the connections hold, our own secret, and whatever looks like one."""
    clean = Redactor(_known(session, settings, endpoint)).clean(text.encode())
    return SECRETS.sub(r"\1[redacted]", clean.decode(errors="replace"))


def _of(session: Session, endpoint: str, name: str, container: str, lines: int) -> str:
    try:
        with translated(f"read the log of {container} of {endpoint}/{name}"):
            text: str = session.ml.online_deployments.get_logs(name, endpoint, lines, container_type=container)
    except ResourceNotFound:
        return ""
    except (PlatformError, ConfigurationError) as error:
        return f"({error})"
    return text


def _known(session: Session, settings: Settings, endpoint: str) -> Iterator[str]:
    """Every secret that a container of ours may have seen, and our own."""
    door, account = session.doors.get(endpoint), sign_in(settings)
    yield from ([door.key] if door else [])
    yield from ([account.client_secret.reveal()] if account.client_secret else [])
    for connection in settings.connections.values():
        if connection.kind == "workspace" and connection.name:
            yield from _kept_in(session, connection.name)


def _kept_in(session: Session, connection: str) -> Iterator[str]:
    try:
        found = read(session, connection)
    except (PlatformError, ConfigurationError):  # then no container could read it either
        return
    yield from found.secrets.values() if isinstance(found, Custom) else filter(None, [found.key])
