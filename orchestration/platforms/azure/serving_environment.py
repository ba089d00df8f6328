"""What serves on Azure: an image of our own, built from the prompt flow's lock and the runner, or Microsoft's.

An environment is named by its content, so the same lock and runner are built once and shared by all prompt flows.
"""

from __future__ import annotations

import json
import platform
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestration.errors import ResourceNotFound
from orchestration.platforms.azure.errors import translated
from orchestration.platforms.azure.resources import check_owned, owner_tags
from orchestration.platforms.azure.uploads import upload
from orchestration.settings.azure import OWN
from orchestration.values import sha256

if TYPE_CHECKING:
    from azure.ai.ml.entities import Environment

    from orchestration.platforms.azure.workspace import Session

RUNTIME: Final = Path(__file__).resolve().parents[3] / "runtime"
RUNNER: Final = "sluice_runner"
CONTAINERFILE: Final = "Containerfile"
LOCK: Final = "lock.txt"
PORT: Final = 8080
HEALTH, SCORE = "/health", "/score"
VERSION_LENGTH: Final = 16
USER: Final = 10001  # any but root
ENTRY: Final = ("python", "-P", "-m", f"{RUNNER}.container")


@dataclass(frozen=True, slots=True)
class ServingEnvironment:
    """An environment of Azure ML: `files` are the build context by path; empty where `image` is somebody else's."""

    name: str
    image: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def version(self) -> str:
        """The beginning of the hash of all that makes it."""
        hashes = {path: sha256(data) for path, data in self.files.items()}
        return sha256({"image": self.image, "files": hashes, "routes": routes()})[:VERSION_LENGTH]

    def write(self, folder: Path) -> None:
        """Write the build context into `folder`."""
        for path, data in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)


def environment(lock: str, *, image: str = OWN) -> ServingEnvironment:
    """The environment that serves a prompt flow with this lock (hashed requirements; empty: it needs Python alone)."""
    if image != OWN:
        return ServingEnvironment("promptflow-runtime", image=image)
    files = {f"{RUNNER}/{path}": data for path, data in _runner().items()}
    files |= {CONTAINERFILE: containerfile(empty=not lock.strip()).encode(), LOCK: lock.encode()}
    return ServingEnvironment("sluicegate-serving", files=files)


def containerfile(*, empty: bool) -> str:
    """How the image is built; `empty`: there are no requirements. Python is that of the evaluation, with its fixes."""
    install = [
        f"COPY {LOCK} {LOCK}",
        f"RUN python -m pip install --no-cache-dir --no-deps --require-hashes -r {LOCK}",
    ]
    lines = [
        "# Serves the prompt flow that Azure Machine Learning mounts; holds none itself.",
        f"FROM docker.io/library/python:{'.'.join(platform.python_version_tuple()[:2])}-slim-bookworm",
        "WORKDIR /app",
        *([] if empty else install),
        f"COPY {RUNNER} {RUNNER}",
        f"RUN python -m compileall -q {RUNNER}",
        f"ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 HOME=/tmp SLUICE_RUNNER_VERSION={_version()} SLUICE_PORT={PORT}",
        f"USER {USER}",
        f"EXPOSE {PORT}",
        f"CMD {json.dumps(ENTRY)}",
    ]
    return "\n".join(lines) + "\n"


def routes() -> dict[str, dict[str, Any]]:
    """Where Azure ML finds what it asks for, in the container."""
    health, score = {"port": PORT, "path": HEALTH}, {"port": PORT, "path": SCORE}
    return {"liveness_route": health, "readiness_route": health, "scoring_route": score}


def register(session: Session, wanted: ServingEnvironment, *, tags: Mapping[str, str]) -> str:
    """The ARM id of the environment in the workspace; registered if it isn't there. The image is built when it is used.

    Raises a `PlatformError`, `ResourceRefused` for one of the same name that is not ours.
    """
    what = f"environment {wanted.name} {wanted.version}"
    try:
        with translated(f"read the {what}"):
            present = session.ml.environments.get(wanted.name, version=wanted.version)
    except ResourceNotFound:
        context = _uploaded(session, wanted) if wanted.files else ""
        with translated(f"register the {what}"):
            present = session.ml.environments.create_or_update(_entity(wanted, context, tags))
    check_owned(what, present.tags)
    return str(present.id)


def _uploaded(session: Session, wanted: ServingEnvironment) -> str:
    """The address of the build context in the workspace's storage."""
    with tempfile.TemporaryDirectory(prefix="sluice-image-") as temporary:
        folder = Path(temporary) / wanted.name  # the same content always goes to the same place
        wanted.write(folder)
        return upload(session, folder).url


def _entity(wanted: ServingEnvironment, context: str, tags: Mapping[str, str]) -> Environment:
    from azure.ai.ml.entities import BuildContext, Environment  # noqa: PLC0415 - takes a second

    return Environment(
        name=wanted.name,
        version=wanted.version,
        image=wanted.image or None,
        build=BuildContext(path=context, dockerfile_path=CONTAINERFILE) if context else None,
        inference_config=routes(),
        tags=owner_tags(tags),
    )


def _runner() -> dict[str, bytes]:
    """The runner's sources by their path below its folder."""
    folder = RUNTIME / RUNNER
    files = sorted(path for pattern in ("*.py", "*.typed") for path in folder.rglob(pattern))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _version() -> str:
    return str(tomllib.loads((RUNTIME / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
