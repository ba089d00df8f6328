"""What a Containerfile says about the process to run: its variables, its folder, its command. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field


class Unreadable(Exception):
    """The file describes no command; the text says why."""


@dataclass(frozen=True, slots=True)
class Described:
    """The process of an image, as its Containerfile describes it."""

    command: tuple[str, ...]
    workdir: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)


def read(text: str) -> Described:
    """Read a Containerfile; of several stages the last counts. Raises `Unreadable`."""
    workdir, environment = "/", dict[str, str]()
    entrypoint, command = tuple[str, ...](), tuple[str, ...]()
    for name, rest in _instructions(text):
        if name == "FROM":
            workdir, environment, entrypoint, command = "/", {}, (), ()
        elif name == "WORKDIR":
            workdir = rest if rest.startswith("/") else f"{workdir.rstrip('/')}/{rest}"
        elif name == "ENV":
            environment.update(_variables(rest))
        elif name == "ENTRYPOINT":
            entrypoint = _words(rest)
        elif name == "CMD":
            command = _words(rest)
    if not entrypoint + command:
        raise Unreadable("it has neither CMD nor ENTRYPOINT")
    return Described(entrypoint + command, workdir, environment)


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\s*\n", " ", "\n".join(lines))
    split = (line.strip().partition(" ") for line in joined.splitlines() if line.strip())
    return [(name.upper(), rest.strip()) for name, _, rest in split]


def _words(rest: str) -> tuple[str, ...]:
    if not rest.startswith("["):
        return ("/bin/sh", "-c", rest)
    try:
        return tuple(map(str, json.loads(rest)))
    except ValueError:
        raise Unreadable(f"{rest} is no list of words") from None


def _variables(rest: str) -> dict[str, str]:
    words = shlex.split(rest)
    if words and "=" not in words[0]:  # the old form: ENV name value
        return {words[0]: rest.partition(" ")[2].strip()}
    return dict(word.split("=", 1) for word in words)
