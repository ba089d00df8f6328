"""What is wrong between settings, each of which is right by itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from orchestration.settings.model import Connection, Settings
from orchestration.specs import rule_problems
from orchestration.validation import Problem

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
MODEL_KEYS = {"api_base", "api_key", "model_deployment", "requests_per_minute", "tokens_per_minute", "prices"}
ALLOWED = {
    "offline": {"model_deployment", "requests_per_minute", "tokens_per_minute", "prices"},
    "azure_openai": MODEL_KEYS | {"api_version"},
    "openai": MODEL_KEYS,
    "workspace": MODEL_KEYS - {"api_base", "api_key"} | {"name"},
    "custom": {"values", "secrets"},
}


def problems(settings: Settings) -> Iterator[Problem]:
    """Everything that the schema of single keys can't say, in the order of the file."""
    yield from _state(settings)
    for name, connection in settings.connections.items():
        yield from _connection(("connections", name), connection)
    yield from _ceiling(settings)
    yield from rule_problems(settings.gate.rules)


def address_problem(address: str, *, encrypted: bool) -> str:
    """Why an address of a model provider can't be used; empty if it can. Doesn't repeat it: it may be a key."""
    try:
        url = urlsplit(address)
        host, _ = url.hostname, url.port
    except ValueError as error:
        return f"is not an address: {error}."
    if url.scheme not in {"http", "https"} or not host:
        return "is not an address like https://example.openai.azure.com."
    if url.username or url.password:
        return "an address must not contain a user name or password."
    if encrypted and url.scheme == "http" and host not in LOOPBACK:
        return "would send the key in clear text: write https."
    return ""


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    return urlsplit(address).hostname in LOOPBACK


def _state(settings: Settings) -> Iterator[Problem]:
    for key, folder in (("state_folder", settings.state), ("runtimes_folder", settings.runtimes)):
        reason = _unusable(folder)
        if reason:
            yield Problem((key,), f"the folder {getattr(settings, key) or folder.name} {reason}.", "Choose another.")


def _unusable(folder: Path) -> str:
    """Why a folder can be neither used nor created. Looks only; creates nothing."""
    existing = next(path for path in (folder, *folder.parents) if _exists(path))
    if not existing.is_dir():
        return "is a file" if existing == folder else f"lies below {existing.name}, which is a file"
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return "can't be read and written" if existing == folder else f"can't be created in {existing.name}"
    return ""


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # no right to look below a folder above it
        return False


def _connection(loc: tuple[str, str], connection: Connection) -> Iterator[Problem]:
    allowed = ALLOWED[connection.kind]
    for key in connection.model_fields_set - allowed - {"kind"}:
        allows = ", ".join(sorted(allowed))
        yield Problem((*loc, key), f"a connection of kind {connection.kind} has no {key!r}.", f"It has {allows}.")
    if connection.kind == "azure_openai" and connection.api_base is None:
        cure = "Write api_base: https://<resource>.openai.azure.com."
        yield Problem((*loc, "api_base"), "a connection of kind azure_openai needs api_base.", cure)
    if connection.kind == "workspace" and connection.name is None:
        cure = "Write name: <connection>, as the workspace has it."
        yield Problem((*loc, "name"), "a connection of kind workspace needs its name in the workspace.", cure)
    if isinstance(connection.api_base, str):
        message = address_problem(connection.api_base, encrypted=connection.kind == "azure_openai")
        if message:
            yield Problem((*loc, "api_base"), message)


def _ceiling(settings: Settings) -> Iterator[Problem]:
    if settings.evaluation.max_price is None:
        return
    needs_prices: Callable[[Connection], bool] = lambda c: c.kind not in {"custom", "offline"} and c.prices is None  # noqa: E731
    for name, connection in settings.connections.items():
        if needs_prices(connection):
            message = f"a price ceiling needs to know what the connection {name!r} costs."
            yield Problem(("evaluation", "max_price"), message, f"Set connections.{name}.prices, or use max_tokens.")
