"""Where the admin socket lies: a path must be shorter than about 104 bytes, and only its owner may reach it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from orchestration.errors import ConfigurationError
from orchestration.values import sha256

LONGEST_PATH = 100


def admin_socket(folder: Path) -> Path:
    """The socket of an endpoint's gateway, in a private folder that is made if need be.

    It lies in the system's folder for temporary files, because the state folder's own path may be too long.
    Raises `ConfigurationError` if that place is somebody else's.
    """
    name = f"sluice-{os.getuid()}-{sha256(str(folder.parent))[:12]}/{sha256(folder.name)[:12]}.sock"
    places = [Path(tempfile.gettempdir()) / name, Path("/tmp") / name]  # noqa: S108 - private folder, checked below
    path = next((p for p in places if len(os.fsencode(p)) <= LONGEST_PATH), places[-1])
    _make_private(path.parent)
    return path


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigurationError(
                f"{folder} is not a private folder of this user, so the gateway can't use it.",
                cure="Remove it, or set TMPDIR to a folder of your own.",
            ) from None
