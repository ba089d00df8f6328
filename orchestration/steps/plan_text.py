"""A plan as people read it."""

from __future__ import annotations

from collections.abc import Mapping

from orchestration.steps.estimate import Estimate, Side
from orchestration.steps.plan import Plan
from orchestration.values import Json


def plan_text(plan: Plan) -> str:
    """What `run` would do, with the evidence for it."""
    facts = [
        ("content", f"{plan.content_hash[:16]}  binding {plan.binding_hash[:16]}"),
        *(("connection", f"{name}: {_connection(each)}") for name, each in plan.connections.items()),
        *(("runtime", f"{r.of}: {'built' if r.built else 'not built yet'} ({r.key}), from {r.requirements}")
          for r in plan.runtimes),
        ("deployment", ", ".join(plan.deployment_files) or f"no deployments/{plan.prompt_flow}/: defaults"),
        ("rollout", _rollout(plan)),
        ("data", f"{plan.data}: {_side(plan.rows.flow, 'run')}"),
        *((("grading", _side(plan.rows.evaluator, "graded")),) if plan.rows.evaluator else ()),
        ("estimate", _estimate(plan.rows.estimate)),
        *(("gate", rule) for rule in plan.gate.rules),
        ("gate", f"at least {plan.gate.min_rows} rows, failed at most {plan.gate.max_failed_ratio:g} of them"),
        ("model", _model(plan)),
        ("endpoint", _endpoint(plan)),
    ]  # fmt: skip
    lines = [f"Plan for {plan.prompt_flow} {plan.commit} in {plan.environment} (nothing was created)"]
    lines += [f"  {name:11} {value}" for name, value in facts]
    lines += ["`sluice run` would:", *(f"  {number}. {step}" for number, step in enumerate(plan.steps, 1))]
    return "\n".join(lines)


def _connection(described: Mapping[str, Json]) -> str:
    parts = [described.get(part) for part in ("kind", "api_base", "workspace", "name", "model_deployment")]
    return ", ".join(str(part) for part in parts if part)


def _side(side: Side, done: str) -> str:
    return f"{side.rows} rows, {side.stored} stored, {side.missing} to be {done}"


def _estimate(estimate: Estimate) -> str:
    calls = "an unknown number of" if estimate.model_calls is None else f"{estimate.model_calls}"
    tokens = "an unknown number of" if estimate.tokens is None else f"{estimate.tokens}"
    price = "price unknown" if estimate.price is None else f"price {estimate.price:.4g}"
    return f"{calls} model calls, {tokens} tokens, {price} ({estimate.basis})"


def _rollout(plan: Plan) -> str:
    steps, seconds = plan.settings["rollout.steps"], plan.settings["rollout.step_seconds"]
    assert isinstance(steps["value"], list)
    percents = ", ".join(str(each) for each in steps["value"])
    return f"{percents} % ({steps['source']}), {seconds['value']} s each ({seconds['source']})"


def _model(plan: Plan) -> str:
    if plan.model is None:
        return "this content is not registered"
    return f"this content is registered as {plan.model.name} version {plan.model.version}"


def _endpoint(plan: Plan) -> str:
    endpoint = plan.endpoint
    if not endpoint.exists:
        return f"{endpoint.name} does not exist yet"
    if not endpoint.serves:
        return f"{endpoint.name} has no online deployment with all the traffic"
    this = ", exactly this," if endpoint.serves_this else ""
    return f"{endpoint.name} ({endpoint.state}) serves {endpoint.serves}{this} at {endpoint.url}"
