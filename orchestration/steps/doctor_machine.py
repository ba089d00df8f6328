"""Checks of the machine and of what is installed."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from orchestration.databases import damage
from orchestration.errors import ConfigurationError
from orchestration.settings import Settings
from orchestration.steps.doctor import Check, fail, ok, warn
from orchestration.steps.env_file import is_ignored, is_private
from orchestration.uv import find_uv

OLDEST = (3, 11)
SYSTEMS = frozenset({"Linux", "Darwin"})
LITTLE, TOO_LITTLE = 3 * 2**30, 2**29  # bytes: one runtime takes half a gigabyte
DATABASES = {
    "rows.sqlite": "Nothing: the next run sets it aside and runs all rows again.",
    "mlflow/mlflow.db": "Put a copy in its place; or move it away, and the next run records and registers anew.",
    "prefect/prefect.db": "Move it away: only the history of runs and the blocks in it are lost.",
}
SANDBOX = "PF_USE_SANDBOX_FOR_JINJA"


def machine(settings: Settings) -> Iterator[Check]:
    """Python, system, uv, disk, environment, files."""
    yield python(sys.version_info[:2], platform.system())
    yield uv()
    yield disk(settings.state)
    yield sandbox(os.environ)
    yield from packages(metadata.requires("sluicegate") or ())
    yield env_file(settings.root)
    yield state_folder(settings)
    yield from databases(settings.state)


def python(version: tuple[int, int], system: str) -> Check:
    """The interpreter and the system that Sluicegate runs on."""
    shown = f"Python {version[0]}.{version[1]} on {system}"
    if version < OLDEST:
        return fail("python", shown, "Sluicegate needs Python 3.11 or newer: make PYTHON=python3.11 setup")
    if system not in SYSTEMS:
        return fail("python", f"{shown}: only Linux and macOS are supported", "On Windows use WSL.")
    return ok("python", shown)


def uv() -> Check:
    """uv, which builds the runtimes."""
    try:
        return ok("uv", str(find_uv()))
    except ConfigurationError as error:
        return fail("uv", error.message, error.cure)


def disk(folder: Path) -> Check:
    """Room for runtimes and results."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    shown, cure = f"{free / 2**30:.1f} GB free", "Make room, or set runtimes_folder to another disk."
    if free < TOO_LITTLE:
        return fail("disk", shown, cure)
    return warn("disk", shown, cure) if free < LITTLE else ok("disk", shown)


def sandbox(environment: Mapping[str, str]) -> Check:
    """Templates are rendered in a sandbox unless this variable forbids it; then a template may run any code."""
    value = environment.get(SANDBOX, "true")
    if value.lower() == "true":
        return ok("sandbox", "templates are rendered in a sandbox")
    return fail("sandbox", f"{SANDBOX} is {value!r}: templates could run any code", f"unset {SANDBOX}")


def packages(requirements: Iterable[str]) -> Iterator[Check]:
    """Each installed version against its pin."""
    wrong = [problem for requirement in requirements if (problem := _package(requirement))]
    cure = "Next: make setup"
    yield from (fail("packages", problem, cure) for problem in wrong)
    if not wrong:
        yield ok("packages", "every installed version is within its pin")


def env_file(root: Path) -> Check:
    """`.env` may hold keys."""
    if not (root / ".env").exists():
        return ok(".env", "there is none")
    if not is_private(root):
        return fail(".env", "others on this machine may read it", "chmod 600 .env")
    if is_ignored(root) is False:
        return fail(".env", "git does not ignore it", "Add a line .env to .gitignore.")
    return ok(".env", "0600, and not in git")


def state_folder(settings: Settings) -> Check:
    """The state folder holds answers, which may be private."""
    folder = settings.state
    if not folder.exists():
        return ok("state", f"{settings.state_folder} does not exist yet")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return fail("state", f"{settings.state_folder} can't be read and written", f"chmod 700 {settings.state_folder}")
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return warn("state", f"{settings.state_folder} is open to others", f"chmod 700 {settings.state_folder}")
    return ok("state", f"{settings.state_folder}, 0700")


def databases(state: Path) -> Iterator[Check]:
    """The sqlite files below the state folder."""
    for name, cure in DATABASES.items():
        if problem := damage(state / name):
            yield fail("state", f"{state / name} can't be read: {problem}", cure)


def _package(text: str) -> str:
    """What is wrong with one requirement; empty if nothing is, or if it isn't for this machine."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"the pin {text!r} can't be read"
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} {installed} is installed, {requirement.specifier} is wanted"
