"""Runs of prompt flow's service on a runtime of ours: the prompt flow, then its evaluation flow; their results.

The service's own word for a good end proves nothing: what counts is what became of each line. Results come back into
the engine, which stores and grades them as if they had been run here.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestration.candidates import RunSide, load_run_specs
from orchestration.errors import ConfigurationError, PlatformTimeout, ProvisioningFailed, ResourceNotFound
from orchestration.evaluation import engine
from orchestration.evaluation.job import EvaluationJob, Progress
from orchestration.evaluation.recorded import Recorded
from orchestration.platforms import open_runs
from orchestration.platforms.places import CloudRuns, RunOrder, RunState
from orchestration.polling import REAL, Clock, every, wait_until
from orchestration.runtimes import ensure_runtime
from orchestration.settings.azure_account import azure_section
from orchestration.steps import flow_files
from orchestration.steps.evaluate import at_place, evaluation_job
from orchestration.steps.prepare import Runtimes
from orchestration.steps.test_compute import GRACE_SECONDS, Equipment, seeing
from orchestration.steps.users_words import in_the_users_words
from orchestration.steps.work import Work
from orchestration.values import Evaluation, Json

LOCK = Path("requirements") / "promptflow-azure.txt"
LOG = Path("logs") / "prompt-flow-service.log"
COMPLETED, FAILED = "Completed", frozenset({"Failed", "Canceled"})


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the runs need besides the compute: the interpreter of prompt flow's client, the outline of the evaluation."""

    client: Path
    outline: engine.Outline


def find_stored(work: Work, runtimes: Runtimes) -> Evaluation | None:
    """The evaluation if every answer and grade of it is stored: then nothing is made in the cloud."""
    if work.request.fresh:
        return None
    with in_the_users_words(work):
        return engine.stored(_job(work, runtimes))


def prepare(work: Work, runtimes: Runtimes) -> Prepared:
    """Check all that can be checked before anything is made, and build the runtime of prompt flow's client."""
    for side in _sides(work).values():
        if not (side.folder / flow_files.DAG).is_file():
            message = f"prompt flow's service runs flows with a {flow_files.DAG}, and {side.folder.name} has none."
            raise ConfigurationError(message, at=work.settings.at("place"), cure="Write place: worker.")
    named_connections(work)
    with in_the_users_words(work):
        outline = engine.outline(_job(work, runtimes))
    lock = (work.root / LOCK).read_text(encoding="utf-8")
    return Prepared(ensure_runtime(lock, folder=work.settings.runtimes, root=work.root), outline)


def run_prompt_flow(work: Work, made: Equipment, prepared: Prepared, *, clock: Clock = REAL) -> str:
    """Run the prompt flow over its data and wait for the end; the run's name. Repeated, it finds its run.

    Raises `ProvisioningFailed` if the run failed as a whole, `PlatformTimeout` after its deadline: then it is canceled.
    """
    order = _order(work, made, "flow", prepared.outline.mapping)
    _run(work, prepared, order, clock)
    return order.name


def run_evaluation_flow(work: Work, made: Equipment, prepared: Prepared, base: str, *, clock: Clock = REAL) -> str:
    """Run the evaluation flow over the prompt flow's run, as that; the run's name, empty without an evaluation flow."""
    mapping = prepared.outline.evaluator_mapping
    if mapping is None:
        return ""
    order = replace(_order(work, made, "evaluator", mapping), run=base)
    _run(work, prepared, order, clock)
    return order.name


def read_results(
    work: Work,
    runtimes: Runtimes,
    prepared: Prepared,
    ran: tuple[str, str],
    *,
    progress: Callable[[Progress], None] | None = None,
    clock: Clock = REAL,
) -> Evaluation:
    """Lines and metrics of both runs (`ran`, by name) as one evaluation; rows that the service lost have failed."""
    flow, evaluator = ran
    with open_runs(work.settings, prepared.client, log=work.state / LOG, clock=clock) as runs:
        recorded = {"flow": Recorded(_by_row(runs.lines(flow), prepared))}
        if evaluator:
            recorded["evaluator"] = Recorded(_by_row(runs.lines(evaluator), prepared), runs.metrics(evaluator))
    job = replace(_job(work, runtimes), fresh=True)  # nothing stored: grades belong to these very answers
    with in_the_users_words(work):
        return engine.evaluate(job, progress=progress, recorded=recorded)


def named_connections(work: Work) -> dict[str, dict[str, str]]:
    """The workspace's connections and models by the prompt flow's names. Raises `ConfigurationError` for others."""
    found = {}
    for name, bound in work.binding.connections.items():
        if bound["kind"] != "workspace":
            message = f"a connection of kind {bound['kind']} can't be used by {work.settings.place}."
            create = f"sluice connections create {name} -e {work.settings.environment}"
            cure = f"Next: {create}, and bind it with kind: workspace."
            raise ConfigurationError(message, at=work.settings.at("connections", name), cure=cure)
        model = bound["model_deployment"]
        found[name] = {"connection": str(bound["name"])} | ({"deployment_name": str(model)} if model else {})
    return found


def _job(work: Work, runtimes: Runtimes) -> EvaluationJob:
    return at_place(work, evaluation_job(work, runtimes))


def _sides(work: Work) -> dict[str, RunSide]:
    specs = load_run_specs(work.candidate)
    return {"flow": specs.flow} | ({"evaluator": specs.evaluation} if specs.evaluation else {})


def _order(work: Work, made: Equipment, name: str, mapping: Mapping[str, Json]) -> RunOrder:
    """The run of one side. Its flow is the snapshot's; what is uploaded is a copy of it."""
    side = _sides(work)[name]
    return RunOrder(
        name=f"{made.name}-{name}",
        flow=side.folder,
        data=work.candidate.folder / "data.jsonl",
        column_mapping=mapping,
        runtime=made.name,
        variant=side.variant,
        connections=flow_files.connection_overrides(side.folder, named_connections(work), side.variant),
        tags=made.tags,
    )


def _run(work: Work, prepared: Prepared, order: RunOrder, clock: Clock) -> None:
    """Submit it and wait for its end."""
    with (
        tempfile.TemporaryDirectory(prefix="sluice-run-") as folder,
        open_runs(work.settings, prepared.client, log=work.state / LOG, clock=clock) as runs,
    ):
        runs.submit(_copied(order, Path(folder), prepared.outline))
        try:
            _wait(work, runs, order.name, clock)
        except PlatformTimeout:
            runs.cancel(order.name)
            raise


def _copied(order: RunOrder, folder: Path, outline: engine.Outline) -> RunOrder:
    """The order with files of its own: prompt flow writes into a flow's folder, and counts lines, not records."""
    flow, data = folder / order.name, folder / "data.jsonl"
    shutil.copytree(order.flow, flow, copy_function=shutil.copyfile)
    data.write_text("".join(f"{json.dumps(dict(record))}\n" for record in outline.records), encoding="utf-8")
    return replace(order, flow=flow, data=data)


def _wait(work: Work, runs: CloudRuns, name: str, clock: Clock) -> None:
    azure, last, began = azure_section(work.settings), [""], clock.now()

    def ended() -> RunState | None:
        found = runs.state(name)
        if found is None and clock.now() - began > GRACE_SECONDS:
            raise ResourceNotFound(f"The run {name} is gone.")
        last[0] = found.state if found else "absent"
        if found and found.state in FAILED:
            raise ProvisioningFailed(f"The run {name} {found.state}: {found.message or 'the service gives no reason.'}")
        return found if found and found.state == COMPLETED else None

    wait_until(
        seeing(ended, last),
        what=f"The run {name}",
        timeout_seconds=azure.compute_instance.deadlines.run,
        wait=every(azure.poll_seconds),
        clock=clock,
        last=lambda: last[0],
    )


def _by_row(lines: Any, prepared: Prepared) -> dict[str, Mapping[str, Any]]:
    """Results by the rows' names; a number that is no line of the data belongs to no row."""
    names = dict(enumerate(prepared.outline.names))
    return {names[line["number"]]: line for line in lines if line["number"] in names}
