"""What people read: the verdict as markdown, and the lines that the command line prints."""

from __future__ import annotations

from collections.abc import Iterable

from orchestration.steps.failures import printable
from orchestration.steps.outcome import Ended, sentence
from orchestration.values import Release

BASELINE = (
    "The `offline` connection is answered by the embedded keyword baseline, not by an LLM: "
    "its numbers show that the pipeline works, not how good a model is."
)


def verdict_markdown(ended: Ended) -> str:
    """The verdict with its evidence, for the Prefect UI."""
    release, decision = ended.release, ended.judged.decision
    lines = [f"# {decision.verdict.value}: {sentence(release)}", ""]
    problem = ended.rollout.problem if ended.rollout is not None else ""
    lines += [f"- {reason}" for reason in (problem, *decision.reasons) if reason] + [""]  # no messages of user code
    lines += ["| rule | value | limit | outcome |", "|---|---|---|---|"]
    lines += [f"| {r.rule} | {_number(r.value)} | {_number(r.limit)} | {r.outcome.value} |" for r in decision.rules]
    lines += ["", "| metric | value |", "|---|---|"]
    lines += [f"| {name} | {_number(value)} |" for name, value in decision.metrics.items()]
    lines += ["", f"Rows: {_rows(release)}.", f"Decision: `{decision.sha256}`."]
    if release.model:
        lines.append(f"Model: {release.model['name']} version {release.model['version']}.")
    if release.endpoint:
        lines.append(f"Endpoint: {release.endpoint['name']} at {release.endpoint['url']}.")
    if ended.rollout is not None and ended.rollout.logs:
        lines += ["", "Last lines of the online deployment:", "", "```", ended.rollout.logs, "```"]
    if offline(ended):
        lines += ["", f"_{BASELINE}_"]
    return "\n".join(lines)


def offline(ended: Ended) -> bool:
    """Whether the embedded baseline answered."""
    return any(c.get("kind") == "offline" for c in ended.work.binding.connections.values())


def release_text(release: Release) -> str:
    """What a person sees at the end of `sluice run`."""
    lines = [f"{release.verdict.value if release.verdict else '-'}  {sentence(release)}"]
    lines += [f"      {reason}" for reason in release.reasons[1:]]
    lines += [f"  metrics   {_pairs((n, _number(v)) for n, v in release.metrics.items())}"]
    lines += [f"  rows      {_rows(release)}"]
    if release.model:
        lines.append(f"  model     {release.model['name']} version {release.model['version']}")
    if release.endpoint:
        weights = release.endpoint["traffic"]
        assert isinstance(weights, dict)
        lines.append(f"  endpoint  {release.endpoint['name']}  {_pairs((n, f'{w} %') for n, w in weights.items())}")
    lines.append(f"  seconds   {_pairs((n, f'{s:.1f}') for n, s in release.seconds.items())}")
    return printable("\n".join(lines))  # keys and grades are pushed by others


def _rows(release: Release) -> str:
    rows = release.rows
    return (
        f"{rows['completed']} of {rows['expected']} completed, {rows['failed']} failed, "
        f"{rows['cached']} taken from the store"
    )


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
