"""The block `sluice-environment/<environment>` for commands that only look: read where there is one, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from orchestration.errors import ConfigurationError
from orchestration.prefect_flows.private_server import Server, credentials, find_server
from orchestration.references import using_blocks
from orchestration.settings import find_root, list_environments, load_settings, settings_problems

SECONDS = 2.0
BLOCK = "block_types/slug/sluice-environment/block_documents/name"


@contextmanager
def block_layer(environment: str) -> Iterator[Mapping[str, Any] | None]:
    """What the block overrides, with references to blocks resolved meanwhile; None without a server or a block.

    A server that doesn't answer is named on stderr.
    """
    root = find_root()
    server = find_server(root, load_settings(root, environment).state)
    if server is None or not _may_exist(server, root, environment):
        yield None
        return
    os.chdir(root)  # Prefect reads prefect.toml from the current folder
    # Prefect takes a second to import, so only where there is a block to read.
    from orchestration.prefect_flows import environment_block  # noqa: PLC0415

    with using_blocks(environment_block.secret):
        yield environment_block.load(environment)


def _may_exist(server: Server, root: Path, environment: str) -> bool:
    """Ask the server itself: nearly always there is no block, and then Prefect is not imported."""
    auth = credentials(root) if server.own else None
    try:
        status = httpx.get(f"{server.api_url}/{BLOCK}/{environment}", auth=auth, timeout=SECONDS).status_code
    except (httpx.TransportError, httpx.InvalidURL) as error:
        sys.stderr.write(f"The Prefect server does not answer ({error}): overrides in its blocks are not looked at\n")
        return False
    return status != httpx.codes.NOT_FOUND


def read_block(reference: str) -> str | None:
    """The value in a block of the server that runs; None if there is none.

    Raises `ConfigurationError` if no server runs, or it doesn't answer.
    """
    root = find_root()
    if not any(find_server(root, state) for state in _state_folders(root)):
        cure = "Next: sluice up. Or use env or file instead."
        raise ConfigurationError(f"no Prefect server runs, which keeps the block {reference}.", cure=cure)
    os.chdir(root)  # Prefect reads prefect.toml from the current folder
    from orchestration.prefect_flows import environment_block  # noqa: PLC0415 - a second, where there is a block

    try:
        return environment_block.secret(reference)
    except httpx.TransportError as error:
        message = f"the Prefect server that keeps the block {reference} does not answer: {error}"
        raise ConfigurationError(message, cure="Next: sluice doctor") from None


def _state_folders(root: Path) -> set[Path]:
    """Where a private server may have its records: the environments nearly always share one folder."""
    sound = [name for name in list_environments(root) if not settings_problems(root, name)]
    return {load_settings(root, name).state for name in sound}
