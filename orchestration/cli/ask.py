"""Asking before something is changed that can't be taken back."""

from __future__ import annotations

import sys

from orchestration.errors import ConfigurationError


def confirmed(plan: str, *, yes: bool) -> bool:
    """Show the plan on stderr and ask; `yes` answers for the user.

    Raises `ConfigurationError` where there is no terminal to ask on.
    """
    sys.stderr.write(f"{plan}\n")
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigurationError("This needs a yes, and there is no terminal to ask on.", cure="Add --yes.")
    sys.stderr.write("Go on? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
