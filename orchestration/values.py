"""The frozen values that flow from step to step.

    Request -> Candidate + Binding -> Row -> RowResult -> Evaluation -> RuleResult -> Decision
            -> ModelVersion -> OnlineDeployment -> Traffic -> Release

Values hold plain data: no clients, no secrets, no open files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import rfc8785
from typing_extensions import TypeAliasType

# Named, because pydantic (in Prefect's flow signatures) follows an unnamed recursive alias for ever.
Json = TypeAliasType("Json", "bool | int | float | str | list[Json] | dict[str, Json] | None")


class Verdict(StrEnum):
    """What the gate says of a candidate."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    BROKEN = "BROKEN"


class Outcome(StrEnum):
    """How a run of `evaluate-deploy` ended."""

    RELEASED = "released"
    UNCHANGED = "unchanged"
    EVALUATED = "evaluated"  # PASS in an environment that only evaluates (`pr`)
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"
    BROKEN = "broken"
    ROLLED_BACK = "rolled-back"


class Status(StrEnum):
    """How one row ended."""

    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks for. `fresh` ignores stored rows."""

    prompt_flow: str
    environment: str
    commit: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A read-only snapshot of a prompt flow; `folder` is `.sluice/candidates/<id>/`.

    `content_hash` covers what will serve (the prompt flow's files, its requirements, its deployment
    files); data, evaluator and rules have hashes of their own, so that a new row or another rule does
    not make another model version.
    """

    prompt_flow: str
    id: str
    commit: str
    dirty: bool
    content_hash: str
    data_hash: str
    evaluator_hash: str
    rules_hash: str
    lock_hash: str
    evaluator_lock_hash: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Binding:
    """What an environment binds a prompt flow's connection names to. Names and addresses, no secrets."""

    environment: str
    connections: Mapping[str, Mapping[str, Json]]
    binding_hash: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the data: `inputs` as mapped for the prompt flow, `data` as it stands in the file."""

    key: str
    line: int
    inputs: Mapping[str, Json]
    data: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row failed. `code` is one word: Raised, TimedOut, Crashed, Missing, NullOutput, RateLimited…"""

    code: str
    message: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that the model provider counted."""

    prompt: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)


@dataclass(frozen=True, slots=True)
class RowResult:
    """What the prompt flow (or its evaluator) made of one row. `seconds` is the run time of the row."""

    key: str
    status: Status
    output: Mapping[str, Json] | None = None
    error: RowError | None = None
    seconds: float = 0.0
    tokens: Tokens = Tokens()
    attempts: int = 1
    cached: bool = False
    nodes: tuple[Mapping[str, Json], ...] = ()


@dataclass(frozen=True, slots=True)
class GradedRow:
    """One row of the graded table: the result, and what the evaluator said of it (None: not graded)."""

    row: Row
    result: RowResult
    grades: Mapping[str, Json] | None = None
    grade_error: RowError | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All rows of one candidate under one binding, with what the evaluator logged over all of them.

    `id` is the hash of everything that went in (content, binding, data, evaluator, variant): the same
    id means that the same evaluation was asked for. `stopped` says why it ended early, if it did;
    `aggregation_error` has the words of user code for it, if there are any.
    `usage` is what the model proxy counted this time (empty: no model was called).
    """

    id: str
    expected: int
    rows: tuple[GradedRow, ...]
    logged: Mapping[str, Json] = field(default_factory=dict)
    stopped: str | None = None
    aggregation_error: RowError | None = None
    seconds: float = 0.0
    usage: Mapping[str, Json] = field(default_factory=dict)

    @property
    def completed(self) -> int:
        return sum(r.result.status is Status.COMPLETED for r in self.rows)

    @property
    def failed(self) -> int:
        return self.expected - self.completed

    @property
    def cached(self) -> int:
        return sum(r.result.cached for r in self.rows)


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule of the gate with its evidence. `outcome` is the verdict this rule alone would give."""

    rule: str
    value: float | None
    limit: float | None
    outcome: Verdict
    reason: str
    interval: tuple[float, float] | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The immutable verdict. `document` is what is hashed and stored; `sha256` is of its canonical JSON."""

    verdict: Verdict
    reasons: tuple[str, ...]
    rules: tuple[RuleResult, ...]
    metrics: Mapping[str, float | None]
    document: Mapping[str, Json]
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A registered prompt flow. `uri` is where the platform keeps it."""

    name: str
    version: str
    content_hash: str
    decision: str
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The live weights of an endpoint (sum 0 or 100) and the map they replaced."""

    endpoint: str
    weights: Mapping[str, int]
    previous: Mapping[str, int]
    generation: int


@dataclass(frozen=True, slots=True)
class ReleaseEvent:
    """What happened under a decision: registered, deployed, traffic, rolled-back… Append-only."""

    decision: str
    kind: str
    at: str
    by: str
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Release:
    """How one prompt flow's run ended: the object that `--json` prints."""

    prompt_flow: str
    environment: str
    commit: str
    outcome: Outcome
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    model: Mapping[str, Json] | None = None
    endpoint: Mapping[str, Json] | None = None
    decision: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of a JSON value. Raises `rfc8785.CanonicalizationError` on NaN or infinity."""
    return rfc8785.dumps(value)


def sha256(value: Any) -> str:
    """Hex sha256 of bytes, of a string's UTF-8, or of the canonical JSON of anything else."""
    if isinstance(value, str):
        value = value.encode()
    data = value if isinstance(value, bytes) else canonical(value)
    return hashlib.sha256(data).hexdigest()


def as_json(value: Any) -> Any:
    """A dataclass as plain JSON data: paths as text, tuples as lists."""
    return _plain(asdict(value))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return value
