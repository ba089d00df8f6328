"""The block `sluice-environment/<environment>` for commands that only look: read where there is one, or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from orchestration.prefect_flows.private_server import Server, credentials, find_server
from orchestration.references import using_blocks
from orchestration.settings import find_root, load_settings

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
