"""What the engine is asked to do: plain values, no open files, secrets kept out of `repr`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.errors import ConfigurationError, Place
from orchestration.values import Json

if TYPE_CHECKING:  # the model proxy brings aiohttp with it, which most evaluations never need
    from orchestration.model_proxy import Ceiling, Upstream


@dataclass(frozen=True, slots=True)
class Subject:
    """A prompt flow or its evaluator, and the runtime in which it runs.

    `runtime` is that one's key: the hash of requirements, runner and interpreter. `mapping` is its
    `column_mapping` (None: columns of the same names), `places` says where each mapped input stands in which
    file, `mapping_file` names the file as a whole. `environment` is added to the few variables that a runner
    gets; nothing secret belongs there.
    """

    folder: Path
    python: Path
    content_hash: str
    runtime: str = ""
    variant: str | None = None
    overrides: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    mapping: Mapping[str, Json] | None = None
    mapping_file: str = "run.yml"
    places: Mapping[str, Place] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def place(self, name: str) -> Place:
        """Where the mapping of this input stands."""
        return self.places.get(name) or Place(self.mapping_file, None, f"column_mapping.{name}")


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """One evaluation: a prompt flow over a data file, graded by an evaluator (None: not graded).

    data                    JSON lines, one object per row
    data_name               how errors name the data file (empty: its path)
    key                     column that names a row (None: the hash of the row's inputs)
    binding_hash            what decides an answer besides content and inputs: names, addresses, models
    connections             name -> description as in docs/runner-protocol.md; of an `llm` connection the engine
                            fills in `base_url` and `api_key` from the model proxy
    upstreams               name -> where the model proxy sends the calls of that `llm` connection
    in_flight               most rows at a time
    workers                 processes of the runner; more than one only helps flows that compute a lot
    row_timeout_seconds     a row that takes longer has failed
    deadline_seconds        everything together, grading included
    limit_deadline_seconds  how long one model call may wait for a rate limit
    ceiling                 most that the evaluation may spend
    fresh                   run every row again, whatever is stored
    state                   folder of the row store
    logs                    folder for what user code prints
    """

    flow: Subject
    data: Path
    state: Path
    logs: Path
    evaluator: Subject | None = None
    data_name: str = ""
    key: str | None = None
    binding_hash: str = ""
    connections: Mapping[str, Mapping[str, Json]] = field(default_factory=dict, repr=False)
    upstreams: Mapping[str, Upstream] = field(default_factory=dict, repr=False)
    in_flight: int = 16
    workers: int = 1
    row_timeout_seconds: float = 300.0
    deadline_seconds: float = 3600.0
    limit_deadline_seconds: float = 300.0
    ceiling: Ceiling | None = None
    fresh: bool = False

    def __post_init__(self) -> None:
        for name in ("in_flight", "workers", "row_timeout_seconds", "deadline_seconds"):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"{name} is {getattr(self, name)}, must be above 0.")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the evaluation is. `stage` is `rows` or `grading`; `eta` in seconds, None while unknown."""

    stage: str
    done: int
    expected: int
    failed: int
    cached: int
    tokens: int
    seconds: float
    eta: float | None
