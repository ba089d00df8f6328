"""How a row ended, read from the runner's answer. Fails closed: what is not plainly complete has failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rfc8785 import CanonicalizationError

from orchestration.values import Json, RowError, RowResult, Status, Tokens, canonical

NO_TOKENS = Tokens()
LIMIT_CODE = "sluice_limit_deadline"  # the model proxy's word for: gave up waiting for a rate limit


@dataclass(frozen=True, slots=True)
class Ended:
    """A row's result before it has the row's name."""

    status: Status
    output: Mapping[str, Json] | None = None
    error: RowError | None = None
    seconds: float = 0.0
    tokens: Tokens = NO_TOKENS
    nodes: tuple[Mapping[str, Json], ...] = ()
    attempts: int = 1

    def after(self, attempts: int) -> Ended:
        """The same, after so many attempts."""
        return self if attempts == self.attempts else replace(self, attempts=attempts)

    def named(self, key: str, *, cached: bool = False) -> RowResult:
        """The row's result."""
        return RowResult(
            key, self.status, self.output, self.error, self.seconds, self.tokens, self.attempts, cached, self.nodes
        )


def failed(code: str, message: str, *, where: str = "", seconds: float = 0.0, tokens: Tokens = NO_TOKENS) -> Ended:
    """A row that failed."""
    return Ended(Status.FAILED, error=RowError(code, message, where), seconds=seconds, tokens=tokens)


def read_result(message: Mapping[str, Any], outputs: Collection[str]) -> Ended:
    """The end that a `result` message tells. `outputs` are the declared ones (none declared: any mapping will do)."""
    try:
        return _read(message, outputs)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return failed("BadOutput", f"the runner's answer can't be read ({error!r})")


def _read(message: Mapping[str, Any], outputs: Collection[str]) -> Ended:
    seconds, tokens = float(message["seconds"]), read_tokens(message.get("tokens") or {})
    nodes = tuple(message.get("nodes") or ())
    if message["status"] != "completed":
        return replace(_failure(message["error"]), seconds=seconds, tokens=tokens, nodes=nodes)
    output = message["output"]
    if not isinstance(output, dict):
        ended = failed("BadOutput", "the output is no mapping")
    elif empty := [name for name in outputs if output.get(name) is None]:
        ended = failed("NullOutput", f"no value for output {', '.join(empty)}")
    elif problem := _unkeepable(output):
        ended = failed("BadOutput", problem)
    else:
        ended = Ended(Status.COMPLETED, output)
    return replace(ended, seconds=seconds, tokens=tokens, nodes=nodes)


def _unkeepable(output: Mapping[str, Any]) -> str:
    """Why the graded table could not hold the output: an integer beyond 2**53, half a surrogate pair."""
    try:
        canonical(output)
    except (CanonicalizationError, UnicodeEncodeError) as error:
        return f"the output holds a value that canonical JSON can't keep: {error}"
    return ""


def read_tokens(tokens: Mapping[str, Any]) -> Tokens:
    """Tokens as the protocol writes them; what the provider didn't count is 0. Raises `ValueError` below 0."""
    read = Tokens(int(tokens.get("prompt") or 0), int(tokens.get("completion") or 0))
    if min(read.prompt, read.completion) < 0:
        raise ValueError("fewer than 0 tokens")
    return read


def declared(output: Mapping[str, Json] | None) -> Mapping[str, Json] | None:
    """The output without what only an aggregation needs, such as `${node.output}` of a DAG."""
    if output is None or not any(name.startswith("${") for name in output):
        return output
    return {name: value for name, value in output.items() if not name.startswith("${")}


def _failure(error: Mapping[str, Any]) -> Ended:
    message = str(error.get("message") or "")
    code = "RateLimited" if LIMIT_CODE in message else str(error.get("code") or "Raised")
    return failed(code, message, where=str(error.get("where") or ""))
