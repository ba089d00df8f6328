"""Entry point: one table of commands, one place where errors become a line and an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError

from orchestration.cli.reply import Exit, Reply
from orchestration.errors import ConfigurationError, SluiceError

HELP = """A gate for prompt flows: evaluate, decide with evidence, register, roll out.

Example: sluice run named_entity_recognition -e local
"""
COMMANDS = {
    "run": ("run", "Evaluate, gate, register, deploy."),
    "evaluate": ("evaluate", "Evaluate and decide, release nothing."),
    "plan": ("plan", "Show what `run` would do; creates nothing."),
    "test": ("try_row", "Run one row and show each node."),
    "invoke": ("operate:invoke", "Send a request to an endpoint."),
    "status": ("status", "What serves, and what runs on this machine."),
    "logs": ("operate:logs", "The last lines of an online deployment."),
    "rollback": ("operate:rollback", "All traffic back to the previous online deployment."),
    "endpoint": ("endpoint", "Start, stop, list, delete endpoints."),
    "connections": ("connections", "List, create and check connections."),
    "config": ("config", "Show settings and where each comes from."),
    "new": ("new", "Scaffold a prompt flow."),
    "up": ("services:up", "Start the Prefect server, a worker, the MLflow UI."),
    "down": ("services:down", "Drain and end everything of this project."),
    "doctor": ("doctor", "Check machine, configuration, connections, ports, versions."),
}


def build_app() -> App:
    """The command tree. Functions are named by path, so that `--help` imports none of them."""
    app = App(name="sluice", help=HELP, version_flags=["--version"], help_format="plaintext")
    for name, (target, summary) in COMMANDS.items():
        module, _, function = target.partition(":")
        app.command(f"orchestration.cli.{module}:{function or module}", name=name, help=summary)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        answer = build_app()(given, exit_on_error=False, print_error=False, result_action="return_value")
        return _print(answer if isinstance(answer, Reply) else Reply(), as_json=as_json)
    except CycloptsError as error:
        return _refuse(str(error).splitlines()[-1], "Try: sluice --help", Exit.USAGE, as_json=as_json)
    except ConfigurationError as error:
        return _refuse(error.message, error.cure, Exit.USAGE, as_json=as_json)
    except SluiceError as error:
        return _refuse(error.message, error.cure, Exit.ERROR, as_json=as_json)
    except KeyboardInterrupt:
        return _refuse(
            "Interrupted.", "Run the same command again: finished rows are kept.", Exit.INTERRUPTED, as_json=as_json
        )
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.ERROR


def _print(reply: Reply, *, as_json: bool) -> int:
    if as_json:
        _write(json.dumps(reply.data, ensure_ascii=False))
    elif reply.text:
        _write(reply.text)
    return reply.code


def _refuse(message: str, cure: str, code: Exit, *, as_json: bool) -> int:
    sys.stderr.write(f"sluice: {message} {cure}".rstrip() + "\n")
    if as_json:
        data: dict[str, Any] = {"error": {"message": message, "cure": cure}, "exit": int(code)}
        _write(json.dumps(data, ensure_ascii=False))
    return code


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
