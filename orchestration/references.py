"""References to secrets and addresses that don't stand in a file: what they look like, and how they are resolved."""

from __future__ import annotations

import os
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NoReturn, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from orchestration.errors import ConfigurationError, Place
from orchestration.specs import Spec

Blocks: TypeAlias = Callable[[str], str | None]
# Who can read Prefect blocks: set for a run through Prefect, so that nothing below it has to know Prefect.
_blocks_in_use: ContextVar[Blocks | None] = ContextVar("blocks", default=None)
LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")


class Secret:
    """A value that no message, log or file may show; `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value in clear text: for the one place that sends it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not stored: pass its reference")


class Reference(Spec):
    """Where a value is kept: exactly one of `env`, `file`, `block`."""

    env: str | None = Field(default=None, description="Name of an environment variable; `.env` may hold it.")
    file: str | None = Field(default=None, description="A file that holds the value, below the project or absolute.")
    block: str | None = Field(default=None, description="A Prefect block, `type/name`.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(v is not None for v in (self.env, self.file, self.block)) != 1:
            raise ValueError("needs exactly one of env, file, block")
        return self

    def __str__(self) -> str:
        kind, name = next((k, v) for k, v in self.model_dump().items() if v is not None)
        return f"{kind} {name}"


def _tag(value: Any) -> str:
    return "<reference>" if isinstance(value, dict | Reference) else "<text>"


# Text as it stands, or a reference to it. The discriminator keeps messages about the one that was meant.
Text = Annotated[Annotated[str, Tag("<text>")] | Annotated[Reference, Tag("<reference>")], Discriminator(_tag)]


@contextmanager
def using_blocks(blocks: Blocks) -> Iterator[None]:
    """Resolve references to blocks by `blocks` within this context, wherever none are passed."""
    token = _blocks_in_use.set(blocks)
    try:
        yield
    finally:
        _blocks_in_use.reset(token)


def read_environment(root: Path) -> Mapping[str, str]:
    """The environment variables, and below them those of `.env` in `root`, which are not exported to anyone."""
    return ChainMap(dict(os.environ), _read_env_file(root / ".env"))


def resolve(
    reference: Reference,
    *,
    root: Path,
    env: Mapping[str, str] | None = None,
    blocks: Blocks | None = None,
    at: Place | None = None,
) -> Secret:
    """The value that a reference points to.

    `blocks` gives the secret of a block `type/name`, or None if there is no such block; `at` is where the
    reference stands. Raises `ConfigurationError`: unset, empty, or still the placeholder of `.env.sample`.
    """
    if reference.env is not None:
        return _from_environment(reference.env, root, read_environment(root) if env is None else env, at)
    if reference.file is not None:
        return _from_file(reference.file, root, at)
    return _from_block(str(reference.block), blocks or _blocks_in_use.get(), at)


def _from_environment(name: str, root: Path, env: Mapping[str, str], at: Place | None) -> Secret:
    value = env.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"the environment variable {name} is not set.", at=at, cure=_env_cure(name))
    if value == _read_env_file(root / ".env.sample").get(name):
        message = f"the environment variable {name} still has the placeholder of .env.sample."
        raise ConfigurationError(message, at=at, cure=f"Write the real value into .env: {name}=...")
    return Secret(value)


def _env_cure(name: str) -> str:
    return f"Copy .env.sample to .env and set {name} there."


def _from_file(name: str, root: Path, at: Place | None) -> Secret:
    try:
        value = (root / name).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        message = f"the file {name} can't be read: {reason}."
        raise ConfigurationError(message, at=at, cure="Create it, readable only by you.") from None
    if not value:
        raise ConfigurationError(f"the file {name} is empty.", at=at, cure="Write the value into it.")
    return Secret(value)


def _from_block(name: str, blocks: Blocks | None, at: Place | None) -> Secret:
    value = blocks(name) if blocks else None
    if not value:
        why = "does not exist or is empty" if blocks else "can't be read without a Prefect server"
        raise ConfigurationError(f"the block {name} {why}.", at=at, cure="Create it, or use env or file instead.")
    return Secret(value)


def _read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines; quotes round a value and comments are left out, nothing is expanded."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("can't be read as UTF-8 text.", at=Place(path.name)) from error
    found = (LINE.match(line) for line in lines if not line.lstrip().startswith("#"))
    return {match[1]: _unquoted(match[2]) for match in found if match}


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] in "\"'" and value[0] in value[1:]:
        return value[1 : value.index(value[0], 1)]
    return value.partition(" #")[0].rstrip()
