"""Runs a Containerfile's steps in an empty folder: a virtual environment takes the place of the image."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Built:
    """What the steps made: `root` is the image's `/`."""

    root: Path
    python: Path
    workdir: Path
    variables: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    user: str = "root"
    ran: list[str] = field(default_factory=list)

    def mapped(self, text: str) -> str:
        """A path of the image as a path of this machine; `/tmp` is the same in both."""
        return f"{self.root}{text}" if text.startswith("/") and not text.startswith("/tmp") else text

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a process of the image sees, and nothing of this machine but its path."""
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, **self.variables, **(more or {})}

    def start(self, environment: Mapping[str, str], *, log: Path) -> subprocess.Popen[bytes]:
        """The container's process."""
        with log.open("wb") as output:
            return subprocess.Popen(
                self.command, cwd=self.workdir, env=self.environment(environment), stdout=output, stderr=output
            )


def build(context: Path, folder: Path) -> Built:
    """Run FROM, WORKDIR, COPY, RUN and ENV; note USER, EXPOSE and CMD. Any other step is an error."""
    root = folder / "root"
    subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)
    built = Built(root, folder / "python" / "bin" / "python", root)
    text = (context / "Containerfile").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            step, _, rest = line.partition(" ")
            _STEPS[step](built, context, rest)
    return built


def _from(built: Built, context: Path, rest: str) -> None:
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert rest == f"docker.io/library/python:{minor}-slim-bookworm"


def _workdir(built: Built, context: Path, rest: str) -> None:
    built.workdir = Path(built.mapped(rest))
    built.workdir.mkdir(parents=True)


def _copy(built: Built, context: Path, rest: str) -> None:
    source, target = rest.split()
    if (context / source).is_dir():
        shutil.copytree(context / source, built.workdir / target)
    else:
        shutil.copy(context / source, built.workdir / target)


def _run(built: Built, context: Path, rest: str) -> None:
    kept = {
        name: os.environ[name] for name in os.environ if name.startswith(("PIP_", "SSL_", "HTTP", "NO_PROXY", "HOME"))
    }
    subprocess.run(["/bin/sh", "-c", rest], cwd=built.workdir, env=kept | built.environment(), check=True)
    built.ran.append(rest)


def _env(built: Built, context: Path, rest: str) -> None:
    pairs = (word.split("=", 1) for word in shlex.split(rest))
    built.variables |= {name: built.mapped(value) for name, value in pairs}


def _user(built: Built, context: Path, rest: str) -> None:
    built.user = rest


def _cmd(built: Built, context: Path, rest: str) -> None:
    built.command = json.loads(rest)


_STEPS = {
    "FROM": _from,
    "WORKDIR": _workdir,
    "COPY": _copy,
    "RUN": _run,
    "ENV": _env,
    "USER": _user,
    "EXPOSE": lambda *_: None,
    "CMD": _cmd,
}
