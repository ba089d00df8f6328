"""Prefect artifacts of a finished release. A key names a prompt flow in an environment: one artifact over time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from orchestration.steps.outcome import Ended, sentence, worst_rows
from orchestration.steps.report import verdict_markdown
from orchestration.steps.work import Work
from orchestration.values import Json, Outcome, Release


def publish(ended: Ended) -> Release:
    """Write the artifacts and return the release. An unchanged one has said it all before, but for the verdict."""
    release = ended.release
    create_markdown_artifact(
        key=_key("verdict", release), markdown=verdict_markdown(ended), description=sentence(release)
    )
    if release.outcome is not Outcome.UNCHANGED:
        _tables(ended)
    return release


def publish_rendered(work: Work, rendered: Mapping[str, Json]) -> None:
    """What is sent for the new online deployment; it holds no secret."""
    text = json.dumps(rendered, indent=2, ensure_ascii=False)
    create_markdown_artifact(
        key=_key_of("deployment", work.candidate.prompt_flow, work.settings.environment),
        markdown=f"```json\n{text}\n```",
        description=f"Online deployment of {work.label}",
    )


def _tables(ended: Ended) -> None:
    release, decision = ended.release, ended.judged.decision
    rules = [
        {"rule": r.rule, "value": r.value, "limit": r.limit, "outcome": r.outcome.value, "reason": r.reason}
        for r in decision.rules
    ]
    _table("rules", release, rules, "The gate's rules")
    _table("worst-rows", release, worst_rows(ended.work, ended.judged), "Failed and wrong rows")
    if ended.rollout is not None:
        weights = ended.rollout.traffic.weights
        table = [{"online deployment": name, "percent": weight} for name, weight in weights.items()]
        _table("traffic", release, table, f"Traffic of {ended.rollout.endpoint}")
        create_link_artifact(key=_key("endpoint", release), link=ended.rollout.url, description="Scoring address")


def _table(kind: str, release: Release, rows: Sequence[Mapping[str, object]], description: str) -> None:
    create_table_artifact(
        key=_key(kind, release), table=[dict(row) for row in rows] or [{"": "none"}], description=description
    )


def _key(kind: str, release: Release) -> str:
    return _key_of(kind, release.prompt_flow, release.environment)


def _key_of(kind: str, prompt_flow: str, environment: str) -> str:
    return f"{kind}-{prompt_flow}-{environment}".replace("_", "-").lower()
