"""Decisions: the immutable, hashed verdict on a candidate, the graded table it rests on, and the check that both guard.

A decision is one JSON document. What is stored is its canonical form (RFC 8785), and its name is the sha256 of those
bytes, so that a decision can't be changed without becoming another one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rfc8785 import CanonicalizationError

from orchestration.errors import EvaluationBroken, NotAuthorized
from orchestration.values import (
    Binding,
    Candidate,
    Decision,
    Evaluation,
    GradedRow,
    Json,
    RowError,
    RuleResult,
    Tokens,
    Verdict,
    as_json,
    canonical,
    sha256,
)

SCHEMA: Final = "sluice/decision/1"
JUDGED_BY = ("rules", "data", "evaluator")  # what a verdict depends on besides the candidate's content


def table_lines(evaluation: Evaluation) -> bytes:
    """The graded table: one canonical JSON object a line, in the order of the data.

    A repeated evaluation that takes its rows from the row store gives the same bytes: stored rows keep the seconds and
    tokens of the run that made them, and what differs from run to run (attempts, whether a row was stored, messages of
    errors) is left out. Raises `EvaluationBroken` for a value that canonical JSON can't hold.
    """
    rows = sorted(evaluation.rows, key=lambda row: (row.row.line, row.row.key))
    return b"".join(_line(row) + b"\n" for row in rows)


def hash_of_rules(own: str, floors: Json) -> str:
    """Hash of all that the gate judges by: the candidate's own rules (their hash) and the environment's floors."""
    return sha256({"own": own, "floors": floors})


def make_decision(
    *,
    verdict: Verdict,
    reasons: Sequence[str],
    rules: Sequence[RuleResult],
    metrics: Mapping[str, float | None],
    sources: Mapping[str, str],
    candidate: Candidate,
    binding: Binding,
    evaluation: Evaluation,
    table_sha256: str,
    rules_hash: str,
    versions: Mapping[str, str],
    previous: Mapping[str, Json] | None,
    made_at: str,
) -> Decision:
    """Write down a verdict with everything it rests on.

    `sources` says of each metric where its number comes from; `rules_hash` is `hash_of_rules`; `previous` is the
    `hashes` of the decision under which the live version serves; `made_at` is UTC in ISO 8601. Raises
    `EvaluationBroken` if the verdict is PASS and a rule says otherwise: a decision never contradicts its evidence.
    """
    if verdict is Verdict.PASS and not _all_pass([rule.outcome for rule in rules]):
        raise EvaluationBroken("A verdict of PASS needs rules that all say PASS.")
    hashes = _hashes(candidate, binding, evaluation, table=table_sha256, rules=rules_hash)
    document: dict[str, Json] = {
        "schema": SCHEMA,
        "verdict": verdict.value,
        "reasons": list(reasons),
        "rules": [_rule(rule) for rule in rules],
        "metrics": {name: {"value": value, "from": sources[name]} for name, value in metrics.items()},
        "prompt_flow": candidate.prompt_flow,
        "environment": binding.environment,
        "commit": candidate.commit,
        "dirty": candidate.dirty,
        "made_at": made_at,
        "hashes": hashes,
        "connections": _connections(binding),
        "rows": _counts(evaluation),
        "totals": _totals(evaluation),
        "logged": storable(evaluation.logged),
        "differs_from_serving": _differences(hashes, previous),
        "versions": dict(versions),
    }
    return Decision(verdict, tuple(reasons), tuple(rules), dict(metrics), document, sha256(document))


def read_decision(data: bytes, *, expected_sha256: str) -> dict[str, Json]:
    """The document of a stored decision. Raises `NotAuthorized` if the bytes are not the ones that were hashed."""
    if sha256(data) != expected_sha256:
        raise NotAuthorized(
            f"The stored decision {expected_sha256[:12]} was changed after it was made.",
            cure="Evaluate again: sluice run.",
        )
    document: dict[str, Json] = json.loads(data)
    return document


def authorizes(document: Mapping[str, Json], *, content_hash: str, binding_hash: str, environment: str) -> None:
    """Return only if the decision allows this content, with this binding, into this environment.

    The first thing that registration and deployment do. Raises `NotAuthorized` with what does not fit.
    """
    for what, found, wanted in _demands(document, content_hash, binding_hash, environment):
        if not wanted or found != wanted:
            raise NotAuthorized(
                f"The decision does not allow this release: its {what} is {_shown(found)}, not {_shown(wanted)}.",
                cure="Evaluate what is to ship: sluice run.",
            )
    if not _all_pass(_outcomes(document)):
        raise NotAuthorized("The decision says PASS, but not all of its rules do.", cure="Evaluate again: sluice run.")


def storable(value: Any) -> Any:
    """JSON with what canonical JSON can't hold as a string: NaN, infinities, integers from 2**53, half a surrogate pair."""
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [storable(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def _line(row: GradedRow) -> bytes:
    result = row.result
    line = {
        "key": row.row.key,
        "line": row.row.line,
        "status": str(result.status),
        "output": _mapping(result.output),
        "error": _error(result.error),
        "grades": _mapping(row.grades),
        "grade_error": _error(row.grade_error),
        "seconds": result.seconds,
        "tokens": _tokens(result.tokens),
    }
    try:
        return canonical(line)
    except (CanonicalizationError, UnicodeEncodeError) as problem:  # the latter for half a surrogate pair in a key
        raise EvaluationBroken(
            f"Row {row.row.key} (line {row.row.line}) holds a value that the graded table can't keep: {problem}.",
            cure="Return numbers of that kind as strings.",
        ) from None


def _mapping(value: Mapping[str, Json] | None) -> Json:
    return None if value is None else dict(value)


def _error(error: RowError | None) -> Json:
    """Code and place. The message may name a port, a time or a process, which the next run would not repeat."""
    return {"code": error.code, "where": error.where} if error else None


def _tokens(tokens: Tokens) -> dict[str, Json]:
    return {"prompt": tokens.prompt, "completion": tokens.completion}


def _rule(rule: RuleResult) -> dict[str, Json]:
    """A rule as it was judged. A limit that is no number is kept as a word, so that BROKEN can be written down."""
    document: dict[str, Json] = storable(as_json(rule))
    return document


def _hashes(
    candidate: Candidate, binding: Binding, evaluation: Evaluation, *, table: str, rules: str
) -> dict[str, Json]:
    return {
        "content": candidate.content_hash,
        "lock": candidate.lock_hash,
        "data": candidate.data_hash,
        "evaluator": candidate.evaluator_hash,
        "evaluator_lock": candidate.evaluator_lock_hash,
        "rules": rules,
        "binding": binding.binding_hash,
        "table": table,
        "evaluation": evaluation.id,
    }


def _connections(binding: Binding) -> dict[str, Json]:
    """Connection names, and the model deployment that each is bound to. Addresses stay in the binding's hash."""
    return {name: {"model": description.get("model_deployment")} for name, description in binding.connections.items()}


def _counts(evaluation: Evaluation) -> dict[str, Json]:
    return {
        "expected": evaluation.expected,
        "completed": evaluation.completed,
        "failed": evaluation.failed,
        "cached": evaluation.cached,
    }


def _totals(evaluation: Evaluation) -> dict[str, Json]:
    """Tokens and run time summed over the rows, as recorded when each ran, and the evaluation's own duration."""
    results = [row.result for row in evaluation.rows]
    totals = {
        "tokens": _tokens(sum((result.tokens for result in results), Tokens())),
        "row_seconds": math.fsum(result.seconds for result in results),
        "evaluation_seconds": evaluation.seconds,
    }
    plain: dict[str, Json] = storable(totals)
    return plain


def _differences(hashes: Mapping[str, Json], previous: Mapping[str, Json] | None) -> list[Json] | None:
    """Which of rules, data and evaluator differ from those of what serves now; None if nothing serves."""
    if previous is None:
        return None
    return [name for name in JUDGED_BY if hashes[name] != previous.get(name)]


def _demands(
    document: Mapping[str, Json], content_hash: str, binding_hash: str, environment: str
) -> list[tuple[str, Json, Json]]:
    hashes = document.get("hashes")
    known = hashes if isinstance(hashes, Mapping) else {}
    return [
        ("schema", document.get("schema"), SCHEMA),
        ("verdict", document.get("verdict"), Verdict.PASS.value),
        ("environment", document.get("environment"), environment),
        ("content hash", known.get("content"), content_hash),
        ("binding hash", known.get("binding"), binding_hash),
    ]


def _outcomes(document: Mapping[str, Json]) -> list[Json]:
    rules = document.get("rules")
    return (
        [rule.get("outcome") if isinstance(rule, Mapping) else None for rule in rules]
        if isinstance(rules, list)
        else []
    )


def _all_pass(outcomes: Sequence[Json]) -> bool:
    return bool(outcomes) and all(outcome == Verdict.PASS.value for outcome in outcomes)


def _shown(value: Json) -> str:
    """Hashes are named by their first 12 characters."""
    return str(value)[:12] if value else "missing"
