"""Evaluations and decisions as the steps make them, and a fresh interpreter to run code in."""

import os
import subprocess
import sys
from pathlib import Path

from orchestration import tracking
from orchestration.decisions import make_decision, table_lines
from orchestration.values import (
    Binding,
    Candidate,
    Evaluation,
    GradedRow,
    Row,
    RowResult,
    RuleResult,
    Status,
    Verdict,
    sha256,
)


def make_evaluation(answers=("a", "b")):
    rows = tuple(
        GradedRow(
            Row(f"k{n}", n, {"question": "q"}, {"question": "q"}),
            RowResult(f"k{n}", Status.COMPLETED, {"answer": answer}, seconds=0.5),
            {"right": True},
        )
        for n, answer in enumerate(answers, start=1)
    )
    return Evaluation("e" * 64, len(rows), rows)


def judged(evaluation, *, environment="dev", made_at="2026-11-20T10:00:00Z", metrics=None):
    """A decision on the evaluation, as the gate would have it written."""
    metrics = {"accuracy": 1.0} if metrics is None else metrics
    hashes = {name: letter * 64 for name, letter in zip(HASHES, "123456", strict=True)}
    candidate = Candidate("echo", "c" * 64, commit="f" * 40, dirty=False, folder=Path("nowhere"), **hashes)
    return make_decision(
        verdict=Verdict.PASS,
        reasons=["accuracy is 1.00."],
        rules=[RuleResult("accuracy above 0.8", 1.0, 0.8, Verdict.PASS, "accuracy is 1.00.")],
        metrics=metrics,
        sources=dict.fromkeys(metrics, "rows"),
        candidate=candidate,
        binding=Binding(environment, {}, "7" * 64),
        evaluation=evaluation,
        table_sha256=sha256(table_lines(evaluation)),
        rules_hash="8" * 64,
        versions={"python": "3.11"},
        previous=None,
        made_at=made_at,
    )


HASHES = ("content_hash", "data_hash", "evaluator_hash", "rules_hash", "lock_hash", "evaluator_lock_hash")


def record(store, decision=None, evaluation=None, *, environment="dev", params=None, prompt_flow="echo", tags=None):
    evaluation = evaluation or make_evaluation()
    return tracking.record_evaluation(
        store,
        prompt_flow=prompt_flow,
        environment=environment,
        evaluation=evaluation,
        decision=decision or judged(evaluation, environment=environment),
        params=params or {},
        tags={"sluice.commit": "f" * 40, **(tags or {})},
    )


def run_python(code, *arguments, cwd=None, home=None):
    """Run code in a fresh interpreter that imports from the source tree, and return what it printed."""
    environment = os.environ | ({"HOME": str(home)} if home else {})
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr
