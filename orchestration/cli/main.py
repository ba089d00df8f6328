"""Entry point: one table of commands, one place where errors become a line and an exit code."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from cyclopts import App, CycloptsError, UnknownCommandError

from orchestration.cli.reply import Exit, Reply
from orchestration.errors import ConfigurationError, SluiceError
from orchestration.web_proxies import direct

HELP = """A gate for prompt flows: evaluate, decide with evidence, register, roll out.

Example: sluice run named_entity_recognition -e local
"""
COMMANDS = {
    "run": ("run", "Evaluate, gate, register, deploy."),
    "evaluate": ("evaluate", "Evaluate and decide, release nothing."),
    "plan": ("plan", "Show what `run` would do; creates nothing."),
    "test": ("try_row:try_one", "Run one row and show each node."),
    "invoke": ("operate:invoke", "Send a request to an endpoint."),
    "status": ("status", "What serves, and what runs on this machine."),
    "logs": ("operate:logs", "The last lines of an online deployment."),
    "rollback": ("operate:rollback", "All traffic back to the previous online deployment."),
    "endpoint": ("endpoint:app", "List, start, stop, delete endpoints."),
    "connections": ("connections:app", "List, show, create and check connections."),
    "config": ("config:app", "Show settings and where each comes from; check all files."),
    "new": ("new", "Scaffold a prompt flow."),
    "up": ("services:up", "Start the Prefect server, a worker, the MLflow UI."),
    "down": ("services:down", "Drain and end everything of this project."),
    "doctor": ("doctor", "Check machine, configuration, connections, ports, versions."),
}
HELP_FLAGS = frozenset({"--help", "-h"})
YES = frozenset({"--json", "--json=true", "--json=t", "--json=yes", "--json=y", "--json=1"})  # as the parser takes them
# The machine's fault, not a bug: what is wrong, and what to do.
CURES = {
    errno.ENOSPC: "Make room: sluice doctor says how much is left, docs/environments.md what may be deleted.",
    errno.EDQUOT: "Make room: docs/environments.md says what may be deleted.",
    errno.EROFS: "Set state_folder in config/base.yaml to a place that can be written to.",
    errno.EACCES: "Check who owns it: sluice doctor",
    errno.EPERM: "Check who owns it: sluice doctor",
    errno.EMFILE: "Raise the limit: ulimit -n 4096",
}


def build_app(called: str = "") -> App:
    """The command tree. Functions are named by path, so that `--help` imports none of them.

    The command that is `called` explains itself; only the others need the summary that stands here.
    """
    app = App(name="sluice", help=HELP, version=_version, help_format="plaintext", suppress_keyboard_interrupt=False)
    for name, (target, summary) in COMMANDS.items():
        module, _, attribute = target.partition(":")
        path = f"orchestration.cli.{module}:{attribute or module}"
        app.command(path, name=name, help=None if name == called else summary)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    os.environ.update(direct(os.environ))
    as_json = any(each.lower() in YES for each in given) and not HELP_FLAGS & set(given)
    try:
        try:
            return _print(_call(given), as_json=as_json)
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, --json prints its one object
            return _refuse(*_explained(error, given), as_json=as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.ERROR


def _explained(error: BaseException, given: Sequence[str]) -> tuple[str, str, Exit]:
    """Message, cure and exit code. What nobody raised on purpose is a bug, and shown with its traceback."""
    if isinstance(error, UnknownCommandError):
        return (*_unknown_command(error), Exit.USAGE)
    if isinstance(error, CycloptsError):
        return _one_line(error), _see_help(given), Exit.USAGE
    if isinstance(error, SluiceError):
        return error.message, error.cure, Exit.USAGE if isinstance(error, ConfigurationError) else Exit.ERROR
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted.", "Run the same command again: finished rows are kept.", Exit.INTERRUPTED
    if isinstance(error, OSError) and error.errno in CURES:
        return _fault_of_the_machine(error), CURES[error.errno], Exit.ERROR
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}", "This is a bug.", Exit.ERROR


def _fault_of_the_machine(error: OSError) -> str:
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name)
    return f"{where}: {error.strerror}." if where else f"{error.strerror}."


def _call(given: Sequence[str]) -> Reply | None:
    """The reply of the command; None where it printed itself: help and version."""
    if given and not given[0].startswith("-") and given[0] not in COMMANDS:
        raise UnknownCommandError(unused_tokens=[given[0]])
    app = build_app(given[0] if given else "")
    with _blocks(given):
        answer = app(list(given), exit_on_error=False, print_error=False, result_action="return_value")
    return answer if isinstance(answer, Reply) else None


def _blocks(given: Sequence[str]) -> AbstractContextManager[None]:
    """References to Prefect blocks can be resolved in every command; explaining one must not cost the imports for it."""
    if not given or given[0].startswith("-") or HELP_FLAGS & set(given):
        return nullcontext()
    from orchestration.references import using_blocks  # noqa: PLC0415

    return using_blocks(_read_block)


def _read_block(reference: str) -> str | None:
    from orchestration.cli.block_layer import read_block  # noqa: PLC0415 - only where a reference to one is met

    return read_block(reference)


def _print(reply: Reply | None, *, as_json: bool) -> int:
    if reply is None:
        return Exit.OK
    if as_json:
        _write(_as_json(reply.data))
    elif reply.text:
        _write(reply.text)
    return reply.code


def _refuse(message: str, cure: str, code: Exit, *, as_json: bool) -> int:
    sys.stderr.write(f"sluice: {message} {cure}".rstrip() + "\n")
    if as_json:
        data: dict[str, Any] = {"error": {"message": message, "cure": cure}, "exit": int(code)}
        _write(_as_json(data))
    return code


def _as_json(data: Any) -> str:
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False)
    except ValueError:  # user code may answer with numbers that JSON doesn't have
        return json.dumps(_finite(data), ensure_ascii=False)


def _finite(data: Any) -> Any:
    """The data with null for what is no finite number."""
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _unknown_command(error: UnknownCommandError) -> tuple[str, str]:
    """The nearest command; cyclopts would import all of them to find it."""
    from orchestration.validation import nearest  # noqa: PLC0415 - with it comes pydantic

    token = (error.unused_tokens or [""])[0]
    path = " ".join(error.command_chain or ())
    known = [name for name in error.app if not name.startswith("-")] if path and error.app else list(COMMANDS)
    if token.startswith("-"):
        needs = f"{path} needs a command before {token}." if path else f"{token} needs a command before it."
        return needs, f"There is {', '.join(sorted(known))}."
    return f"there is no command {f'{path} {token}'.strip()!r}.", nearest(token, known)


def _one_line(error: CycloptsError) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _see_help(given: Sequence[str]) -> str:
    return f"Try: sluice {given[0]} --help" if given and given[0] in COMMANDS else "Try: sluice --help"


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - only where it is asked for

    return version("sluicegate")


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")  # user code may answer anything
    sys.stdout.flush()
