"""The process behind one local endpoint: gateway, supervisor and reconciler of its desired state.

    python -m orchestration.platforms.local.gateway --folder <state>/endpoints/<name> [--port N] [--limits JSON]

It outlives whoever started it. SIGTERM lets the requests in flight finish; if it is killed its servers end by
themselves, because their pipes end. It ends by itself when its endpoint is removed by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from logging.handlers import RotatingFileHandler
from pathlib import Path

import aiohttp
import filelock
from aiohttp import web

from orchestration.errors import ConfigurationError, ResourceNotFound, SluiceError
from orchestration.platforms.local.admin import AdminSide, describe
from orchestration.platforms.local.admin_socket import admin_socket
from orchestration.platforms.local.desired import DesiredEndpoint
from orchestration.platforms.local.folder import EndpointFolder
from orchestration.platforms.local.limits import Limits
from orchestration.platforms.local.live_endpoint import LiveEndpoint
from orchestration.platforms.local.public import PublicSide

REFUSED, ALREADY = 64, 75  # exit codes: the reason is on standard error; another gateway lives
IDLE_SECONDS = 75.0  # for connections to servers; they keep theirs longer
SOCKET_CHECK_SECONDS = 60.0
FOLDER_CHECK_SECONDS = 2.0

log = logging.getLogger("sluice.gateway")


def main(argv: Sequence[str]) -> int:
    """Run until stopped; returns the exit code."""
    parser = argparse.ArgumentParser(prog="gateway", description="Serves one local endpoint.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="0: the one it had, else a free one")
    parser.add_argument("--limits", type=json.loads, default={})
    options = parser.parse_args(argv)
    folder = EndpointFolder(options.folder.absolute())
    _log_to(folder.log)
    try:
        with filelock.FileLock(folder.lock, timeout=0, mode=0o600):
            asyncio.run(run(folder, options.port, Limits(**options.limits)))
    except filelock.Timeout:
        return ALREADY
    except SluiceError as error:
        log.error("%s", error)  # noqa: TRY400 - the user's to mend, not a bug
        print(json.dumps(describe(error)), file=sys.stderr)  # noqa: T201 - read by the starter
        return REFUSED
    return 0


async def run(folder: EndpointFolder, port: int, limits: Limits) -> None:
    """Serve the endpoint until it is told to end. Raises `ConfigurationError` if the wanted port is taken."""
    desired = folder.load()
    if desired is None:
        raise ResourceNotFound(f"There is no endpoint {folder.name}.")
    key, listener = folder.key(), _listen(desired, port)
    desired = replace(desired, port=listener.getsockname()[1], socket=str(admin_socket(folder.path)))
    folder.save(desired)
    async with _pool(limits) as session:
        endpoint = LiveEndpoint(folder, desired, limits=limits, session=session)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, endpoint.ended.set)
        endpoint.resume()
        async with _admin(endpoint, Path(desired.socket), limits):
            async with _public(endpoint, key, listener, limits), _ended_with(endpoint):
                log.info("endpoint %s: http://%s:%d, pid %d", folder.name, desired.host, desired.port, os.getpid())
                await endpoint.ended.wait()
            await endpoint.close()
    log.info("endpoint %s: ended", folder.name)


def _listen(desired: DesiredEndpoint, wanted: int) -> socket.socket:
    try:
        return socket.create_server((desired.host, wanted or desired.port), backlog=1024)
    except OSError as error:
        if wanted:
            raise ConfigurationError(
                f"The endpoint {desired.name} can't listen on {desired.host}:{wanted}: {os.strerror(error.errno or 0)}.",
                cure="Set `endpoint.port` to a free port, or to 0 for any.",
            ) from error
        return socket.create_server((desired.host, 0), backlog=1024)


def _pool(limits: Limits) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, limit_per_host=limits.connections, keepalive_timeout=IDLE_SECONDS)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=limits.silence_seconds)
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        auto_decompress=False,  # answers are passed through as they are
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


@contextlib.asynccontextmanager
async def _public(endpoint: LiveEndpoint, key: str, listener: socket.socket, limits: Limits) -> AsyncIterator[None]:
    # At its end no connection is accepted any more and the requests in flight have been answered.
    side = PublicSide(endpoint, key)
    runner = web.AppRunner(side.app, access_log=None, shutdown_timeout=limits.drain_seconds)
    await runner.setup()
    await web.SockSite(runner, listener, backlog=1024).start()
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _admin(endpoint: LiveEndpoint, path: Path, limits: Limits) -> AsyncIterator[None]:
    runner = web.AppRunner(AdminSide(endpoint).app, access_log=None, shutdown_timeout=limits.end_seconds)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    inode = (await asyncio.to_thread(path.stat)).st_ino
    keeping = asyncio.create_task(_keep(runner, path))
    try:
        yield
    finally:
        keeping.cancel()
        await runner.cleanup()
        await asyncio.to_thread(_remove, path, inode)


@contextlib.asynccontextmanager
async def _ended_with(endpoint: LiveEndpoint) -> AsyncIterator[None]:
    # Without its files nobody would find the gateway again, and a new endpoint of this name has another key.
    looking = asyncio.create_task(_until_removed(endpoint.folder))
    looking.add_done_callback(lambda _: endpoint.ended.set())
    try:
        yield
    finally:
        looking.cancel()


async def _until_removed(folder: EndpointFolder) -> None:
    inode = (await asyncio.to_thread(folder.path.stat)).st_ino
    while not await asyncio.to_thread(_is_removed, folder, inode):  # noqa: ASYNC110 - nobody could set an event
        await asyncio.sleep(FOLDER_CHECK_SECONDS)
    log.warning("the endpoint was removed by hand; its gateway ends")


def _is_removed(folder: EndpointFolder, inode: int) -> bool:
    try:
        folder.state_file.lstat()
        return folder.path.stat().st_ino != inode  # ours can't be another's meanwhile: it is the working folder
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # nobody knows


async def _keep(runner: web.AppRunner, path: Path) -> None:
    # Systems clean their folder for temporary files; without the socket nobody could reach a healthy gateway.
    while True:
        await asyncio.sleep(SOCKET_CHECK_SECONDS)
        if await asyncio.to_thread(_was_removed, path):
            log.warning("the admin socket was removed; it is made again")
            await web.UnixSite(runner, path).start()


def _remove(path: Path, inode: int) -> None:
    # Unless a new endpoint of this name already listens there: ours may have been deleted a moment ago.
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()


def _was_removed(path: Path) -> bool:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    return not path.is_socket()


def _log_to(file: Path) -> None:
    handler = RotatingFileHandler(file, maxBytes=2**20, backupCount=1, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
