"""The `sluice` command: parses, calls a step or a flow, prints. Commands are imported when they are called."""

from orchestration.cli.main import main

__all__ = ["main"]
