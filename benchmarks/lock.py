"""Makes package-lock.json anew, in this folder or another: `python benchmarks/lock.py [FOLDER]`.

It names no registry and asks for no money.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMMAND = ("install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--omit-lockfile-registry-resolved")


def main(of: Path = HERE) -> None:
    """Resolve package.json in a folder of its own, and keep the lock without what nobody needs."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is missing: install node first.")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(of / "package.json", folder)
        subprocess.run([npm, *COMMAND], cwd=folder, check=True)
        lock = json.loads((Path(folder) / "package-lock.json").read_text())
    for package in lock["packages"].values():
        package.pop("funding", None)
        if "://" in str(package.get("license")):
            del package["license"]
    (of / "package-lock.json").write_text(json.dumps(lock, indent=2) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
