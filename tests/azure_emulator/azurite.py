"""Azurite from npm: installed once from its lock file, and run as a process."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import trustme
from filelock import FileLock

from .children import OUTSIDE, Child

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".sluice" / "test-azurite"
SOURCES = ("package.json", "package-lock.json")
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=optional")
INSTALL_SECONDS, START_SECONDS = 600.0, 60.0
_LISTENS = re.compile(r"listens on https://127\.0\.0\.1:(?P<port>\d+)")


class Unavailable(Exception):
    """Azurite can't be had here; the text says why."""


def unavailable() -> str | None:
    """Why tests that need blob storage have to be skipped; None, with Azurite installed, if they don't."""
    try:
        install()
    except Unavailable as reason:
        return str(reason)
    return None


def install() -> Path:
    """Azurite's entry file, installed if need be. Raises `Unavailable`."""
    npm = shutil.which("npm", path=OUTSIDE.get("PATH"))
    if npm is None or shutil.which("node", path=OUTSIDE.get("PATH")) is None:
        raise Unavailable("blob storage needs node and npm, which are not installed")
    lock = (HERE / SOURCES[1]).read_bytes()
    home = FOLDER / hashlib.sha256(lock).hexdigest()[:16]
    home.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{home}.lock"):
        if not (home / "ready").exists():
            _install(npm, home)
    return home / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


def _install(npm: str, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    for name in SOURCES:
        shutil.copy(HERE / name, home)
    try:
        done = subprocess.run(
            [npm, *INSTALL], cwd=home, env=OUTSIDE, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm ci was not done after {INSTALL_SECONDS:g} s") from None
    if done.returncode != 0:
        raise Unavailable(f"npm ci failed: {done.stderr.strip()[-300:]}")
    (home / "ready").touch()


class Azurite:
    """A blob service in memory. `url` is its address on loopback, `trusted` the certificate that it shows there."""

    def __init__(self, folder: Path) -> None:
        self.url = ""
        self.trusted = folder / "azurite-ca.pem"
        self._folder = folder
        self._child: Child | None = None

    async def start(self, accounts: Mapping[str, str]) -> None:
        """Install it if need be, start it with these accounts (key by name), and wait until it listens."""
        main = await asyncio.to_thread(install)
        certificate = self._certificate()
        options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck"]
        options += ["--oauth", "basic", *certificate, "--silent", "--disableTelemetry"]
        known = ";".join(f"{name}:{key}" for name, key in accounts.items())
        environment = {"PATH": OUTSIDE.get("PATH", ""), "HOME": str(self._folder), "AZURITE_ACCOUNTS": known}
        log = self._folder / "azurite.log"
        self._child = Child(["node", main, *options], log=log, environment=environment, cwd=self._folder)
        async with asyncio.timeout(START_SECONDS):
            self.url = await self._listening(self._child)

    async def _listening(self, child: Child) -> str:
        while True:
            found = _LISTENS.search(child.output())
            if found:
                return f"https://127.0.0.1:{found['port']}"
            if child.code() is not None:
                raise Unavailable(f"Azurite ended: {child.output()[-500:]}")
            await asyncio.sleep(0.02)

    def _certificate(self) -> list[str]:
        """Bearer tokens are taken over TLS only."""
        authority = trustme.CA()
        leaf = authority.issue_cert("127.0.0.1")
        chain, key = self._folder / "azurite.pem", self._folder / "azurite-key.pem"
        authority.cert_pem.write_to_path(self.trusted)
        leaf.cert_chain_pems[0].write_to_path(chain)
        leaf.private_key_pem.write_to_path(key)
        return ["--cert", str(chain), "--key", str(key)]

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self._child is not None:
            self._child.end()
