"""Makes the lock files anew: `make locks`, or `python requirements/lock.py [--upgrade] [NAME ...]`.

Without `--upgrade` versions stay as far as the sources allow. Each file is the result of

    uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url -q --no-header SOURCES -o FILE

run with an empty HOME, so that no one's own configuration gets in.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).parent / "uv"
OPTIONS = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "-q", "--no-header"]

# In this order: later ones are constrained by earlier ones.
LOCKS = {
    "orchestrator": ["pyproject.toml"],
    "dev": ["pyproject.toml", "--group", "dev", "-c", "requirements/orchestrator.txt"],
    "promptflow": ["requirements/promptflow.in"],
    "promptflow-azure": ["requirements/promptflow-azure.in", "-c", "requirements/promptflow.txt"],
    "model": ["requirements/model.in", "-c", "requirements/promptflow.txt"],
}


def lock(name: str, *, upgrade: bool) -> None:
    """Make `requirements/<name>.txt`."""
    output = f"requirements/{name}.txt"
    command = [str(UV), "pip", "compile", *OPTIONS, *LOCKS[name], "-o", output]
    with tempfile.TemporaryDirectory() as home:
        subprocess.run(
            command + ["--upgrade"] * upgrade, cwd=ROOT, check=True, env={**os.environ, "HOME": home}, timeout=600
        )
    print(output)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the lock files anew.")
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(LOCKS)}; all by default")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that the sources allow")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - LOCKS.keys()
    if unknown:
        parser.error(f"there is no lock {', '.join(sorted(unknown))}")
    for name in LOCKS:
        if name in arguments.names or not arguments.names:
            lock(name, upgrade=arguments.upgrade)


if __name__ == "__main__":
    main()
