"""Checks of the project: configuration, connections, prompt flows, frozen images, retirement."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

from orchestration.candidates import list_prompt_flows, load_run_specs
from orchestration.errors import ConfigurationError, EvaluationBroken, PlatformError, RunnerFailed
from orchestration.evaluation.data import Line, load_lines
from orchestration.evaluation.description import Description
from orchestration.evaluation.job import EvaluationJob, Subject
from orchestration.evaluation.mapping import evaluator_mapping, flow_mapping
from orchestration.locks import framework_of
from orchestration.settings import Settings
from orchestration.steps import configuration, connections, flow_files
from orchestration.steps.doctor import Check, Level, fail, misconfigured, ok, warn
from orchestration.steps.estimate import known_description
from orchestration.steps.look import NO_RUNTIME, job_of, looked_at
from orchestration.steps.try_row import describe
from orchestration.steps.work import Work
from orchestration.values import Request

RETIREMENT = date(2027, 4, 20)
NOTICE_DAYS = 180
FROZEN = re.compile(r"mcr\.microsoft\.com/azureml/promptflow/promptflow-runtime[\w.:/@-]*")
LARGEST_TEXT = 2**20
PROMPTFLOW = "promptflow"


def configured(root: Path) -> Iterator[Check]:
    """Every environment and every prompt flow."""
    found = list(configuration.problems(root))
    yield from (misconfigured("config", error) for error in found)
    if not found:
        yield ok("config", "all environments and prompt flows")


def resolving(settings: Settings) -> Iterator[Check]:
    """Each connection's address and key."""
    for name in sorted(settings.connections):
        found = connections.describe(settings, name)
        key = f", key from {found.key}" if found.key else ""
        problem = Check("connection", Level.FAIL, f"{name}: {found.problem}", configuration=True)
        yield ok("connection", f"{name}: {found.kind}{key}") if found.resolves else problem


def prompt_flows(settings: Settings) -> Iterator[Check]:
    """Each prompt flow with its evaluation flow: does it open, and do the mappings name what is there."""
    for name in list_prompt_flows(settings.root):
        yield _guarded(f"flow {name}", lambda name=name: _prompt_flow(settings, name))  # type: ignore[misc]


def frozen_images(root: Path) -> Iterator[Check]:
    """Microsoft's runtime images for prompt flow get no security updates any more."""
    found = [
        f"{path.relative_to(root)}:{n}: {image}" for path in _texts(root / "deployments") for n, image in _images(path)
    ]
    cure = "Let Sluicegate build the environment: remove the image, or name one that is maintained."
    yield from (warn("images", f"{each} is frozen: it gets no security updates", cure) for each in found)
    if not found:
        yield ok("images", "no deployment names a frozen image")


def retirement(frameworks: Collection[str], *, today: date) -> Check:
    """How long prompt flow is still a product. Sluicegate knows it only behind the runner protocol."""
    if PROMPTFLOW not in frameworks:
        return ok("retirement", "no prompt flow here depends on promptflow")
    days = (RETIREMENT - today).days
    cure = "Another framework is another adapter behind docs/runner-protocol.md; rows, gate and rollout stay."
    if days < 0:
        return warn("retirement", f"prompt flow is read-only since {RETIREMENT}", cure)
    message = f"prompt flow becomes read-only on {RETIREMENT}, in {days} days"
    return warn("retirement", message, cure) if days <= NOTICE_DAYS else ok("retirement", message)


def frameworks_used(root: Path) -> set[str]:
    """The frameworks whose marker files stand in the folders of flows/."""
    found = [framework_of(root, folder) for folder in sorted((root / "flows").glob("*/"))]
    return {each[0].name for each in found if each is not None}


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except (ConfigurationError, RunnerFailed) as error:
        return misconfigured(name, error)
    except EvaluationBroken as error:
        return fail(name, error.message, error.cure)
    except PlatformError as error:
        return warn(name, error.message, error.cure)


def _prompt_flow(settings: Settings, name: str) -> Check:
    request = Request(name, settings.environment)
    with looked_at(request, check_dirty=False, root=settings.root) as work:
        job = job_of(work, reach=False)
        lines = load_lines(job.data, shown_as=job.data_name)
        flow = _describe(work, job)
        if flow is None:
            return _statically(f"flow {name}", work, lines)
        flow_mapping(job.flow, flow, lines, job.data_name)
        if job.evaluator is not None:
            own = _describe(work, replace(job, flow=job.evaluator))
            if own is not None:
                evaluator_mapping(job.evaluator, own, lines, job.data_name, list(flow.outputs))
    return ok(f"flow {name}", f"{len(lines)} rows, mappings fit {', '.join(flow.inputs) or 'any input'}")


def _describe(work: Work, job: EvaluationJob) -> Description | None:
    """What the runner says of `job.flow`: known, or asked now; None while its runtime isn't built."""
    known = known_description(job, job.flow)
    if known is not None:
        return known
    return None if job.flow.python == NO_RUNTIME else describe(replace(job, state=work.candidate.folder.parent))


def _statically(name: str, work: Work, lines: Sequence[Line]) -> Check:
    """What the files alone tell, as long as there is no runtime to ask."""
    run = load_run_specs(work.candidate)
    subject = Subject(
        run.flow.folder,
        NO_RUNTIME,
        "",
        mapping=run.flow.mapping,
        mapping_file=run.flow.mapping_file,
        places=run.flow.places,
    )
    inputs = flow_files.declared_inputs(run.flow.folder)
    if inputs is None:
        return ok(name, f"{len(lines)} rows; its mappings are checked once the runtime is built")
    declared = Description("", "", inputs, {}, aggregation=False)
    flow_mapping(subject, declared, lines, "the data")
    return ok(name, f"{len(lines)} rows, mappings fit {', '.join(inputs)} (the runtime is not built yet)")


def _texts(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if path.stat().st_size <= LARGEST_TEXT]


def _images(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        for image in FROZEN.findall(line):
            yield number, image
