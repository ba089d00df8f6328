"""What `run` would do, found out without doing it: nothing is created, built, called or registered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestration.candidates import load_run_specs, read_manifest
from orchestration.gate.rules import COMPARISONS, FLOOR
from orchestration.gate.verdict import strictest
from orchestration.locks import REQUIREMENTS, framework_of
from orchestration.platforms import open_platform
from orchestration.platforms.base import SUCCEEDED, Endpoint
from orchestration.runtimes import runtime_key
from orchestration.specs import Rule
from orchestration.steps import rollout, serving
from orchestration.steps.estimate import Outlook, outlook
from orchestration.steps.look import built
from orchestration.steps.stable import Green
from orchestration.steps.work import Work, short
from orchestration.values import Json, ModelVersion

IN_FORCE = ("endpoint", "rollout", "evaluation", "evaluate_only", "allow_dirty")


@dataclass(frozen=True, slots=True)
class RuntimePlan:
    """One of the two environments: its key, whether it is there, and where its requirements come from."""

    of: str
    key: str
    built: bool
    requirements: str


@dataclass(frozen=True, slots=True)
class GatePlan:
    """The rules, the environment's floors among them, and the stricter of each bound."""

    rules: tuple[str, ...]
    min_rows: int
    max_failed_ratio: float


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """The endpoint as it stands: `serves` is the online deployment that has all the traffic."""

    name: str
    exists: bool
    state: str
    serves: str
    serves_this: bool
    url: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What `run` would do with one prompt flow. `settings` are those in force, each with its source."""

    prompt_flow: str
    environment: str
    commit: str
    content_hash: str
    binding_hash: str
    connections: Mapping[str, Mapping[str, Json]]
    data: str
    rows: Outlook
    runtimes: tuple[RuntimePlan, ...]
    deployment_files: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Json]]
    gate: GatePlan
    model: ModelVersion | None
    endpoint: EndpointPlan
    traffic_steps: tuple[int, ...]
    steps: tuple[str, ...] = ()


def make_plan(work: Work) -> Plan:
    """Find out what `run` would do. `work` comes from `look.looked_at`.

    Raises `ConfigurationError` for what `run` would refuse, and `PlatformError` if the platform can't be read.
    """
    serving.refuse_foreign(work)
    live = serving.find(work)
    endpoint = _endpoint(work, live)
    draft = Plan(
        prompt_flow=work.candidate.prompt_flow,
        environment=work.settings.environment,
        commit=short(work.candidate),
        content_hash=work.candidate.content_hash,
        binding_hash=work.binding.binding_hash,
        connections=work.binding.connections,
        data=read_manifest(work.candidate.folder).names["data.jsonl"],
        rows=outlook(work),
        runtimes=_runtimes(work),
        deployment_files=_deployment_files(work),
        settings=_in_force(work),
        gate=_gate(work),
        model=_serving_model(work, live) if live and endpoint.serves_this else _registered(work),
        endpoint=endpoint,
        traffic_steps=() if endpoint.serves_this or work.settings.evaluate_only else _traffic_steps(work),
    )
    return replace(draft, steps=_steps(draft, work))


def _runtimes(work: Work) -> tuple[RuntimePlan, ...]:
    run = load_run_specs(work.candidate)
    found = [_runtime(work, "prompt flow", run.flow.folder, "lock.txt")]
    if run.evaluation is not None:
        found.append(_runtime(work, "evaluation flow", run.evaluation.folder, "evaluator-lock.txt"))
    return tuple(found)


def _runtime(work: Work, of: str, folder: Path, lock: str) -> RuntimePlan:
    text = (work.candidate.folder / lock).read_text(encoding="utf-8")
    return RuntimePlan(
        of, runtime_key(text, work.root)[:12], built(work, lock) is not None, _requirements(work, folder)
    )


def _requirements(work: Work, folder: Path) -> str:
    """Where a runtime's requirements come from."""
    found = framework_of(work.root, folder)
    default = f"requirements/{found[0].lock}.txt" if found and found[0].lock else ""
    if (folder / REQUIREMENTS).is_file():
        own = f"{read_manifest(work.candidate.folder).names[folder.name]}/{REQUIREMENTS}"
        return f"{own} with {default}" if default else own
    return f"{default} (default)" if default else "none, the standard library (default)"


def _deployment_files(work: Work) -> tuple[str, ...]:
    folder = work.candidate.folder / "deployments"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple(f"deployments/{work.candidate.prompt_flow}/{path.relative_to(folder).as_posix()}" for path in files)


def _in_force(work: Work) -> dict[str, dict[str, Json]]:
    values = work.settings.model_dump(mode="json", include=set(IN_FORCE))
    return {
        key: {"value": _value(values, key), "source": source}
        for key, source in work.settings.sources.items()
        if key.split(".")[0] in IN_FORCE
    }


def _value(values: Mapping[str, Json], key: str) -> Json:
    found: Json = dict(values)
    for part in key.split("."):
        assert isinstance(found, dict)
        found = found[part]
    return found


def _gate(work: Work) -> GatePlan:
    floors = work.settings.gate
    min_rows, max_failed_ratio = strictest(work.spec.gate, floors)
    rules = [_rule(rule) for rule in work.spec.gate.rules] + [f"{_rule(rule)} ({FLOOR})" for rule in floors.rules]
    return GatePlan(tuple(rules), min_rows, max_failed_ratio)


def _rule(rule: Rule) -> str:
    bound = next(name for name in COMPARISONS if getattr(rule, name) is not None)
    return f"{rule.metric} {COMPARISONS[bound][1]} {rule.limit:g}"


def _endpoint(work: Work, live: serving.Serving | None) -> EndpointPlan:
    platform, name = open_platform(work.settings), work.endpoint
    found = platform.get(Endpoint.kind, name)
    same = live is not None and serving.settled(work, live.deployment) and serving.on_record(work, live.deployment)
    serves, url = (live.deployment.name, live.url) if live else ("", "")
    return EndpointPlan(name, found is not None, found.state if found else "", serves, same, url)


def _registered(work: Work) -> ModelVersion | None:
    return open_platform(work.settings).find_model(work.candidate.prompt_flow, work.candidate.content_hash)


def _serving_model(work: Work, live: serving.Serving) -> ModelVersion:
    """The version as the online deployment names it: no registry needs to be asked."""
    name, _, version = live.deployment.tags.get("model", "").rpartition(":")
    return ModelVersion(name, version, work.candidate.content_hash, live.deployment.tags.get("decision", ""))


def _traffic_steps(work: Work) -> tuple[int, ...]:
    platform = open_platform(work.settings)
    if platform.get(Endpoint.kind, work.endpoint) is None:
        return (100,)
    return rollout.steps(work, Green.of(work, stable=platform.traffic(work.endpoint)))


def _steps(draft: Plan, work: Work) -> tuple[str, ...]:
    """What would happen, in order, if the gate says PASS."""
    rows = draft.rows
    steps = [f"build the runtime {key}" for key in dict.fromkeys(r.key for r in draft.runtimes if not r.built)]
    steps.append(f"run {rows.flow.missing} of {rows.flow.rows} rows")
    if rows.evaluator is not None:
        steps.append(f"grade {rows.evaluator.missing} of {rows.evaluator.rows} rows")
    steps.append("apply the gate and record the decision; what follows needs PASS")
    if work.settings.evaluate_only:
        return (*steps, f"stop: {draft.environment} only evaluates")
    return (*steps, *_release_steps(draft, work))


def _release_steps(draft: Plan, work: Work) -> Iterator[str]:
    endpoint, model = draft.endpoint, draft.model
    if endpoint.exists and endpoint.state != SUCCEEDED:
        yield f"start the endpoint {endpoint.name} again"
    if endpoint.serves_this:
        yield f"change nothing else: {endpoint.serves} serves exactly this"
        return
    yield f"use version {model.version}, which has this content" if model else "register a new model version"
    if not endpoint.exists:
        yield f"create the endpoint {endpoint.name}"
    yield f"start the online deployment {Green.name_of(work)} at 0 % and send it the sample request"
    yield "traffic to it: " + ", ".join(f"{weight} %" for weight in draft.traffic_steps)
