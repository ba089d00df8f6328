"""Looking at a prompt flow as `run` would take it, without leaving anything behind."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestration.evaluation.job import EvaluationJob
from orchestration.model_proxy import Upstream
from orchestration.platforms import open_connections
from orchestration.runtimes import find_runtime
from orchestration.settings import find_root, load_settings
from orchestration.steps import prepare
from orchestration.steps.evaluate import at_place, evaluation_job
from orchestration.steps.prepare import Runtimes
from orchestration.steps.work import Work
from orchestration.values import Json, Request

NO_RUNTIME = Path("not-built")


@contextmanager
def looked_at(
    request: Request, *, block: Mapping[str, Any] | None = None, check_dirty: bool = True, root: Path | None = None
) -> Iterator[Work]:
    """What `run` would work on; the snapshot lies in a temporary folder and goes with the block.

    Raises `ConfigurationError` for whatever `run` would refuse.
    """
    root = root or find_root()
    settings = load_settings(root, request.environment, block=block)
    with tempfile.TemporaryDirectory(prefix="sluice-look-") as temporary:
        snapshots = Path(temporary).resolve()
        locks = settings.state / "locks"
        if locks.is_dir():
            shutil.copytree(locks, snapshots / "locks")  # so that requirements are not resolved a second time
        yield prepare.take(request, root=root, block=block, check_dirty=check_dirty, snapshots=snapshots)


def built(work: Work, lock: str) -> Path | None:
    """The interpreter of one of the candidate's runtimes (`lock.txt`, `evaluator-lock.txt`) if it is built."""
    text = (work.candidate.folder / lock).read_text(encoding="utf-8")
    return find_runtime(text, folder=work.settings.runtimes, root=work.root)


def job_of(work: Work, *, reach: bool = True) -> EvaluationJob:
    """The evaluation that `run` would start. Where a runtime isn't built yet its interpreter is `NO_RUNTIME`.

    Without `reach` no workspace is asked for what it keeps: nothing that calls a model may come of that job.
    """
    flow = built(work, "lock.txt") or NO_RUNTIME
    graded = (work.candidate.folder / "evaluator-lock.txt").exists()
    evaluator = (built(work, "evaluator-lock.txt") or NO_RUNTIME) if graded else None
    job = evaluation_job(work, Runtimes(flow, evaluator), connections=None if reach else _unreached(work))
    return replace(at_place(work, job), logs=work.candidate.folder.parent / "logs")


def _unreached(work: Work) -> dict[str, Upstream | Mapping[str, Json]]:
    """The binding's connections, with nobody behind those of a workspace."""
    nobody = Upstream("openai", "http://127.0.0.1:9")  # the port that answers nothing
    kept = {name: nobody for name, each in work.binding.connections.items() if each["kind"] == "workspace"}
    rest = {name: each for name, each in work.binding.connections.items() if name not in kept}
    return {**kept, **open_connections(work.settings, replace(work.binding, connections=rest))}
