"""`sluice evaluate`"""

from __future__ import annotations

import sys
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from orchestration.cli.options import AsJson, Commit, Environment, Fresh, PromptFlowName
from orchestration.cli.reply import Exit, Reply
from orchestration.evaluation.data import load_lines
from orchestration.evaluation.engine import evaluate as run_evaluation
from orchestration.evaluation.progress import ProgressLine
from orchestration.steps import evaluate as steps
from orchestration.steps import failures, outcome, prepare
from orchestration.steps.evaluate import Judged
from orchestration.steps.page import write_page
from orchestration.steps.report import release_text
from orchestration.steps.users_words import in_the_users_words
from orchestration.steps.work import Work
from orchestration.values import Evaluation, Request, Verdict, as_json

CODES = {
    Verdict.PASS: Exit.OK,
    Verdict.FAIL: Exit.FAIL,
    Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE,
    Verdict.BROKEN: Exit.BROKEN,
}


def evaluate(
    prompt_flow: PromptFlowName = None,
    *,
    environment: Environment = "local",
    commit: Commit = None,
    fresh: Fresh = False,
    no_grade: Annotated[bool, Parameter(negative="", help="Only run the rows; no verdict.")] = False,
    data: Annotated[Path | None, Parameter(help="Another data file (JSON lines) than run.yml's.")] = None,
    variant: Annotated[str | None, Parameter(help="Another variant than run.yml's: '${node.variant}'.")] = None,
    open_page: Annotated[bool, Parameter(name="--open", negative="", help="Show the rows in the browser.")] = False,
    json: AsJson = False,
) -> Reply:
    """Run a prompt flow on its data, grade the answers and say the verdict. Releases and records nothing.

    Needs neither Prefect nor MLflow. Exit codes: 0 PASS, 2 FAIL, 3 INCONCLUSIVE, 4 BROKEN.

    Example: sluice evaluate web_classification -e dev --variant '${classify.variant_1}'
    """
    answers = [
        _one(request, no_grade=no_grade, data=data, variant=variant, open_page=open_page)
        for request in prepare.requests(environment, prompt_flow, commit, fresh=fresh)
    ]
    if len(answers) == 1:
        return answers[0]
    code = max((answer.code for answer in answers), default=Exit.OK)
    return Reply("\n".join(a.text for a in answers), {"evaluations": [a.data for a in answers]}, code)


def _one(request: Request, *, no_grade: bool, data: Path | None, variant: str | None, open_page: bool) -> Reply:
    watch = outcome.Stopwatch()
    if data is not None:
        load_lines(data)  # what can't be read is refused before a runtime is built for it
    work = prepare.take(request)
    runtimes = prepare.build_runtimes(work, progress=_say)
    job = steps.evaluation_job(work, runtimes)
    if data is not None:
        job = replace(job, data=data, data_name=str(data))
    job = steps.with_variant(job, variant)
    if no_grade:
        job = replace(job, evaluator=None)
    with ProgressLine() as progress, in_the_users_words(work):
        evaluation = run_evaluation(job, progress=progress)
    watch.lap("evaluate")
    page = (
        write_page(evaluation, work.label, work.state / "pages" / f"{request.prompt_flow}.html") if open_page else None
    )
    if page is not None:
        webbrowser.open(page.as_uri())
    reply = _rows_only(work, evaluation) if no_grade else _judged(work, runtimes, evaluation, watch)
    return replace(reply, text=f"{reply.text}\n  page      {page}") if page else reply


def _judged(work: Work, runtimes: prepare.Runtimes, evaluation: Evaluation, watch: outcome.Stopwatch) -> Reply:
    decision = steps.decide(work, evaluation)
    ended = outcome.not_released(work, Judged(evaluation, decision, runtimes), watch.total())
    return Reply(release_text(ended.release), as_json(ended.release), CODES[decision.verdict])


def _rows_only(work: Work, evaluation: Evaluation) -> Reply:
    counts = {
        "expected": evaluation.expected,
        "completed": evaluation.completed,
        "failed": evaluation.failed,
        "cached": evaluation.cached,
    }
    rows = [
        {
            "key": r.row.key,
            "status": r.result.status.value,
            "output": r.result.output,
            "error": as_json(r.result.error) if r.result.error else None,
        }
        for r in evaluation.rows
    ]
    head = f"{work.label}: {counts['completed']} of {counts['expected']} rows completed, {counts['failed']} failed"
    text = "\n  ".join((head, *failures.messages(work, evaluation)))
    data = {"prompt_flow": work.candidate.prompt_flow, "rows": counts, "results": rows}
    return Reply(text, data, Exit.OK if not evaluation.failed else Exit.BROKEN)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
