"""What an adapter offers: one opened prompt flow that runs rows and aggregates, whatever its framework."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypedDict

Message = Mapping[str, Any]


class Tokens(TypedDict):
    """Tokens that the model provider counted for one row."""

    prompt: int
    completion: int


@dataclass(frozen=True)
class RowOutcome:
    """What one row gave. `nodes` is empty unless a trace was asked for."""

    output: dict[str, Any]
    tokens: Tokens
    nodes: list[dict[str, Any]] = field(default_factory=list)


class Executor(Protocol):
    """One opened prompt flow. `run_row` is called from several threads at once.

    `inputs` maps a name to `{type, default?}`, `outputs` to `{type}` (empty: not declared). `kind` is `dag`,
    `flex`, `prompty` or `callable`.
    """

    framework: str
    kind: str
    inputs: dict[str, dict[str, Any]]
    outputs: dict[str, dict[str, Any]]
    aggregation: bool

    def run_row(self, inputs: Mapping[str, Any], *, row_id: str, trace: bool) -> RowOutcome:
        """Run one row. Raises `RowFailed`, and nothing else but what isn't an `Exception`."""

    def aggregate(self, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Run the aggregation over the completed rows and return what it logged. Raises `RowFailed`."""


class AdapterFailed(Exception):
    """Base: `code` is one word, `message` one line, `where` is `file:line` in user code where known."""

    def __init__(self, code: str, message: str, where: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.where = code, " ".join(message.split()), where


class OpenFailed(AdapterFailed):
    """The prompt flow can't be opened."""


class RowFailed(AdapterFailed):
    """One row, or the aggregation, failed. `tokens` were used and `nodes` were traced until then."""

    def __init__(
        self,
        code: str,
        message: str,
        where: str = "",
        *,
        tokens: Tokens | None = None,
        nodes: Sequence[dict[str, Any]] = (),
    ) -> None:
        super().__init__(code, message, where)
        self.tokens = tokens or Tokens(prompt=0, completion=0)
        self.nodes = list(nodes)


def describe(error: BaseException) -> str:
    """The error as one line: its type and its text."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the error's own __str__ is user code too
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def where(error: BaseException, flow: Path) -> str:
    """`file:line` of the innermost place inside the flow's folder, of the error or of what caused it; or empty."""
    for link in chain(error):
        if isinstance(link, SyntaxError) and Path(link.filename or "").is_relative_to(flow):
            return f"{Path(str(link.filename)).relative_to(flow)}:{link.lineno}"
        for frame, line in reversed(list(traceback.walk_tb(link.__traceback__))):
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(flow):
                return f"{file.relative_to(flow)}:{line}"
    return ""


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, what caused that."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def require(inputs: Mapping[str, Any], declared: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises `RowFailed` if an input without a default is missing."""
    missing = [name for name, spec in declared.items() if "default" not in spec and name not in inputs]
    if missing:
        raise RowFailed("MissingInput", f"missing input: {', '.join(missing)}")


@contextmanager
def opening(flow: Path) -> Iterator[None]:
    """Turn what user code raises while it is loaded into `OpenFailed`; `SystemExit` is user code too."""
    try:
        yield
    except AdapterFailed:
        raise
    except SyntaxError as error:
        place = where(error, flow) or f"{error.filename}:{error.lineno}"
        raise OpenFailed("Syntax", error.msg or "invalid syntax", place) from error
    except (Exception, SystemExit) as error:
        broken = _broken_file(error, flow)
        if broken is not None:
            raise OpenFailed("Syntax", broken.msg or "invalid syntax", where(broken, flow)) from error
        raise OpenFailed("Raised", describe(error), where(error, flow)) from error


def _broken_file(error: BaseException, flow: Path) -> SyntaxError | None:
    """The syntax error in a file of the flow behind a framework's own error."""
    links = (link for link in chain(error) if isinstance(link, SyntaxError))
    return next((link for link in links if Path(link.filename or "").is_relative_to(flow)), None)
