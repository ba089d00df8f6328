"""`python -m orchestration.evaluation JOB.json [--json]`: run one evaluation job, without Prefect, gate or platform.

Progress goes to standard error, a summary to standard output. Exit codes: 0 every row has ended (failed ones too),
1 it could not be judged or was stopped, 64 the job is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from orchestration.errors import ConfigurationError, SluiceError
from orchestration.evaluation.engine import evaluate
from orchestration.evaluation.job_file import read_job
from orchestration.evaluation.progress import ProgressLine
from orchestration.values import Evaluation, Status

_SHOWN_ERRORS = 5


def main() -> int:
    """Run the job that the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m orchestration.evaluation", description="Run one evaluation job.")
    parser.add_argument("job", type=Path, help="the job as JSON (see orchestration/evaluation/job_file.py)")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    arguments = parser.parse_args()
    try:
        with ProgressLine() as line:
            evaluation = evaluate(read_job(arguments.job), progress=line)
    except SluiceError as error:
        sys.stderr.write(f"{error}\n")
        return 64 if isinstance(error, ConfigurationError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; completed rows are stored\n")
        return 130
    values = summary(evaluation)
    sys.stdout.write(json.dumps(values) + "\n" if arguments.json else _text(values))
    return 1 if evaluation.stopped else 0


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation in a few numbers, with the first errors."""
    failed = [row.result for row in evaluation.rows if row.result.status is Status.FAILED]
    errors = [{"key": r.key, "code": r.error.code, "message": r.error.message} for r in failed if r.error]
    ungraded = [row.grade_error for row in evaluation.rows if row.grade_error]
    return {
        "id": evaluation.id,
        "expected": evaluation.expected,
        "completed": evaluation.completed,
        "failed": evaluation.failed,
        "cached": evaluation.cached,
        "ungraded": len(ungraded),
        "tokens": sum(row.result.tokens.total for row in evaluation.rows),
        "logged": dict(evaluation.logged),
        "stopped": evaluation.stopped,
        "seconds": evaluation.seconds,
        "usage": dict(evaluation.usage),
        "errors": errors[:_SHOWN_ERRORS],
    }


def _text(values: dict[str, Any]) -> str:
    return "".join(f"{name}: {value}\n" for name, value in values.items() if value not in (None, {}, []))


if __name__ == "__main__":
    sys.exit(main())
