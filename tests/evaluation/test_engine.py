"""Whole evaluations with real runner processes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from evaluation_workspace import EXACT, MAPPING, UPPER, Workspace, without_runtime

from orchestration.errors import ConfigurationError, RunnerFailed
from orchestration.evaluation.engine import Plan, check, evaluate, run_row
from orchestration.values import Status


def codes(evaluation):
    return [row.result.error and row.result.error.code for row in evaluation.rows]


def test_rows_come_in_the_order_of_the_data_with_grades_and_metrics(workspace: Workspace):
    slow_first = """
        import time
        def run(text: str):
            time.sleep(0.3 if text == "t0" else 0)
            return {"answer": text.upper() if text != "t1" else "wrong"}
    """
    evaluation = evaluate(workspace.job(slow_first, graded=True))
    assert [row.row.line for row in evaluation.rows] == list(range(1, 9))
    assert [row.row.inputs["text"] for row in evaluation.rows] == [f"t{i}" for i in range(8)]
    assert [row.grades["grade"] for row in evaluation.rows] == [1.0, 0.0] + [1.0] * 6
    assert (evaluation.completed, evaluation.failed, evaluation.stopped) == (8, 0, None)
    assert evaluation.logged == {"accuracy": 7 / 8}


def test_a_repeated_evaluation_calls_nothing_and_starts_no_process(workspace: Workspace):
    job = workspace.job(graded=True)
    first = evaluate(job)
    workspace.calls(), workspace.calls("evaluator")
    second = evaluate(without_runtime(job))
    assert workspace.calls() == workspace.calls("evaluator") == []
    assert second.cached == 8
    assert second.logged == first.logged
    assert second.id == first.id
    assert [r.grades for r in second.rows] == [r.grades for r in first.rows]
    assert [replace(r.result, cached=False) for r in second.rows] == [r.result for r in first.rows]


def test_fresh_calls_every_row_again(workspace: Workspace):
    job = workspace.job(graded=True)
    evaluate(job)
    workspace.calls(), workspace.calls("evaluator")
    assert evaluate(replace(job, fresh=True)).cached == 0
    assert len(workspace.calls()) == 8
    assert len(workspace.calls("evaluator")) == 9


def test_a_changed_evaluator_scores_again_without_running_the_flow(workspace: Workspace):
    job = workspace.job(graded=True)
    evaluate(job)
    workspace.calls("evaluator")
    harsh = EXACT.replace("answer == truth", "False")
    job = replace(
        without_runtime(job), evaluator=workspace.subject("evaluator", harsh, outputs=["grade"], mapping=MAPPING)
    )
    evaluation = evaluate(job)
    assert evaluation.cached == 8
    assert evaluation.logged == {"accuracy": 0.0}
    assert len(workspace.calls("evaluator")) == 9


def test_one_changed_row_calls_that_row_only(workspace: Workspace):
    job = workspace.job()
    first = evaluate(job)
    workspace.calls()
    workspace.data([{"text": "new" if i == 3 else f"t{i}"} for i in range(8)])
    evaluation = evaluate(job)
    assert workspace.calls() == ["new"]
    assert evaluation.cached == 7
    assert evaluation.id != first.id


@pytest.mark.parametrize("change", [{"binding_hash": "other"}, {"content_hash": "other"}, {"runtime": "other"}])
def test_another_binding_content_or_runtime_runs_all_rows(workspace: Workspace, change: dict[str, str]):
    job = workspace.job()
    evaluate(job)
    workspace.calls()
    job = replace(job, **change) if "binding_hash" in change else replace(job, flow=replace(job.flow, **change))
    assert evaluate(job).cached == 0
    assert len(workspace.calls()) == 8


def test_a_column_that_the_flow_does_not_take_may_change(workspace: Workspace):
    job = workspace.job()
    evaluate(job)
    workspace.data([{"text": f"t{i}", "truth": "else"} for i in range(8)])
    assert evaluate(without_runtime(job)).cached == 8


def test_a_raising_row_fails_alone_and_only_it_is_run_again(workspace: Workspace):
    raising = """
        def run(text: str):
            call(text)
            if text == "t2":
                raise ValueError("no such thing")
            return {"answer": text}
    """
    job = workspace.job(raising, graded=True)
    evaluation = evaluate(job)
    error = evaluation.rows[2].result.error
    assert codes(evaluation) == [None, None, "Raised"] + [None] * 5
    assert "no such thing" in error.message
    assert error.where == "flow_main.py:8"
    assert evaluation.rows[2].grades is None
    assert evaluation.failed == 1
    workspace.calls()
    assert evaluate(job).cached == 7
    assert workspace.calls() == ["t2"]


def test_hanging_rows_time_out_and_the_others_complete(workspace: Workspace):
    hanging = """
        import time
        def run(text: str):
            time.sleep(60 if text in ("t1", "t5") else 0)
            return {"answer": text}
    """
    evaluation = evaluate(workspace.job(hanging, row_timeout_seconds=0.5, in_flight=2))
    assert codes(evaluation) == [None, "TimedOut", None, None, None, "TimedOut", None, None]
    assert evaluation.rows[1].result.seconds == 0.5
    assert evaluation.seconds < 10


def test_rows_that_end_the_process_fail_and_innocent_ones_complete(workspace: Workspace):
    deadly = """
        import os, time
        def run(text: str):
            time.sleep(0.05)
            if text in ("t3", "t11"):
                os._exit(3)
            return {"answer": text}
    """
    evaluation = evaluate(workspace.job(deadly, rows=16, in_flight=8))
    assert [i for i, code in enumerate(codes(evaluation)) if code] == [3, 11]
    assert evaluation.rows[3].result.error.code == "Crashed"
    assert "exit code 3" in evaluation.rows[3].result.error.message
    assert evaluation.rows[3].result.attempts == 2


def test_a_row_that_kills_the_runner_itself_is_found(workspace: Workspace):
    deadly = """
        import os, signal, time
        def run(text: str):
            time.sleep(0.05)
            if text == "t4":
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(10)
            return {"answer": text}
    """
    evaluation = evaluate(workspace.job(deadly, in_flight=4))
    assert [i for i, code in enumerate(codes(evaluation)) if code] == [4]
    assert evaluation.rows[4].result.error.code == "Crashed"
    assert evaluation.stopped is None


def test_all_rows_failing_is_a_result_with_no_grades(workspace: Workspace):
    evaluation = evaluate(workspace.job("def run(text: str):\n    raise OSError('down')", graded=True))
    assert codes(evaluation) == ["Raised"] * 8
    assert (evaluation.completed, evaluation.failed, evaluation.logged) == (0, 8, {})


@pytest.mark.parametrize("answer", ["{'answer': None}", "{}", "{'other': 1}", "None"])
def test_no_value_for_a_declared_output_is_a_failure(workspace: Workspace, answer: str):
    evaluation = evaluate(workspace.job(f"def run(text: str):\n    return {answer}", rows=1))
    assert codes(evaluation) == ["NullOutput"]


def test_a_row_can_not_have_used_less_than_nothing(workspace: Workspace):
    thrifty = """
        from sluice_runner import usage
        def run(text: str):
            if text == "t0":
                usage.add(-1000, 0)
            usage._current.get().prompt -= 1000
            return {"answer": text}
    """
    evaluation = evaluate(workspace.job(thrifty, rows=2))
    assert codes(evaluation) == ["Raised", "BadOutput"]
    assert sum(row.result.tokens.total for row in evaluation.rows) == 0


@pytest.mark.parametrize("answer", ["''", "[]", "0", "False"])
def test_an_empty_answer_is_an_answer(workspace: Workspace, answer: str):
    evaluation = evaluate(workspace.job(f"def run(text: str):\n    return {{'answer': {answer}}}", rows=1))
    assert evaluation.completed == 1


def test_without_declared_outputs_any_mapping_will_do(workspace: Workspace):
    evaluation = evaluate(workspace.job("def run(text: str):\n    return {'x': None}", rows=1, outputs=[]))
    assert evaluation.rows[0].result.output == {"x": None}


def test_equal_rows_keep_an_answer_each(workspace: Workspace):
    counting = """
        import itertools
        numbers = itertools.count()
        def run(text: str):
            call(text)
            return {"answer": next(numbers)}
    """
    job = workspace.job(counting, rows=[{"text": "same"}] * 3)
    first = evaluate(job)
    again = evaluate(without_runtime(job))
    assert len({row.row.key for row in first.rows}) == 3
    assert {row.result.output["answer"] for row in first.rows} == {0, 1, 2}
    assert [r.result.output for r in again.rows] == [r.result.output for r in first.rows]


def test_a_line_of_twenty_megabytes_and_odd_text_passes(workspace: Workspace):
    huge = "def run(text: str):\n    return {'answer': text * 800_000}"
    evaluation = evaluate(workspace.job(huge, rows=[{"text": "\u2028é😀\r\n"}]))
    assert len(evaluation.rows[0].result.output["answer"]) == 4_000_000


def test_the_deadline_stops_everything_and_keeps_what_is_done(workspace: Workspace):
    slow = """
        import time
        def run(text: str):
            call(text)
            time.sleep(0 if text in ("t0", "t1") else 60)
            return {"answer": text}
    """
    job = workspace.job(slow, in_flight=4, deadline_seconds=3, graded=True)
    evaluation = evaluate(job)
    assert "deadline of 3 s" in evaluation.stopped
    assert codes(evaluation) == [None, None] + ["Missing"] * 6
    assert evaluation.expected == len(evaluation.rows) == 8
    workspace.calls()
    evaluate(replace(job, row_timeout_seconds=0.1))
    assert sorted(workspace.calls()) == [f"t{i}" for i in range(2, 8)]


def test_an_aggregation_that_raises_stops_the_evaluation_with_its_reason(workspace: Workspace):
    job = workspace.job(graded=True)
    broken = EXACT.replace('call("aggregate")', "1 / 0")
    job = replace(job, evaluator=workspace.subject("evaluator", broken, outputs=["grade"], mapping=MAPPING))
    evaluation = evaluate(job)
    assert evaluation.completed == 8
    assert evaluation.stopped == "the evaluator's aggregation failed: Raised at evaluator_main.py:10"
    assert evaluation.aggregation_error.message == "ZeroDivisionError: division by zero"
    dead = broken.replace("1 / 0", "__import__('os')._exit(3)")
    job = replace(job, evaluator=workspace.subject("evaluator", dead, outputs=["grade"], mapping=MAPPING))
    assert "ended in the aggregation: exit code 3" in evaluate(job).stopped


def test_a_failing_evaluator_row_is_an_ungraded_row_left_out_of_the_aggregate(workspace: Workspace):
    job = workspace.job(graded=True)
    picky = EXACT.replace("call(answer)", "assert answer != 'T3'")
    job = replace(job, evaluator=workspace.subject("evaluator", picky, outputs=["grade"], mapping=MAPPING))
    evaluation = evaluate(job)
    assert [i for i, row in enumerate(evaluation.rows) if row.grade_error] == [3]
    assert evaluation.rows[3].grades is None
    assert evaluation.completed == 8
    assert evaluation.logged == {"accuracy": 1.0}


def test_a_wrong_evaluator_mapping_is_found_before_the_first_row(workspace: Workspace):
    job = workspace.job(graded=True)
    mapping = {**MAPPING, "truth": "${data.groundtruth}"}
    job = replace(job, evaluator=replace(job.evaluator, mapping=mapping, mapping_file="run_evaluation.yml"))
    with pytest.raises(ConfigurationError, match=r"run_evaluation.yml:column_mapping.truth: \$\{data.groundtruth\}"):
        evaluate(job)
    assert workspace.calls() == []


def test_a_flow_that_can_not_be_opened_says_why_and_where(workspace: Workspace):
    with pytest.raises(RunnerFailed, match=r"flow_main.py:5: NameError") as raised:
        evaluate(workspace.job("\nundefined_name"))
    assert raised.value.code == "Raised"


def test_a_broken_evaluator_is_found_before_the_first_row(workspace: Workspace):
    job = workspace.job(graded=True)
    job = replace(job, evaluator=workspace.subject("evaluator", "def run(answer:", mapping=MAPPING))
    with pytest.raises(RunnerFailed, match="never closed"):
        evaluate(job)
    assert workspace.calls() == []


def test_a_missing_interpreter_is_named(workspace: Workspace):
    with pytest.raises(RunnerFailed, match="/nonexistent/python can't be started"):
        evaluate(without_runtime(workspace.job()))


def test_user_code_sees_no_secret_and_its_prints_go_to_the_log(workspace: Workspace, monkeypatch: pytest.MonkeyPatch):
    nosy = """
        import os, sys
        def run(text: str):
            print("hello from user code", flush=True)
            return {"answer": {**os.environ, "stdin": sys.stdin.read(), "files": os.listdir(os.environ["HOME"])}}
    """
    monkeypatch.setenv("PREFECT_API_KEY", "hunter2")
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy:3128")
    monkeypatch.setenv("LC_TIME", "C.UTF-8")
    seen = evaluate(workspace.job(nosy, rows=1)).rows[0].result.output["answer"]
    assert "hunter2" not in json.dumps(seen)
    assert "PREFECT_API_KEY" not in seen
    assert (seen["LC_TIME"], seen["stdin"], seen["files"]) == ("C.UTF-8", "", [])
    assert "hello from user code" in workspace.log()


def test_custom_connections_go_through_the_pipe(workspace: Workspace):
    source = "def run(text: str, connections):\n    return {'answer': list(connections['db']['secrets']['password'])}"
    connections = {"db": {"type": "custom", "values": {}, "secrets": {"password": "s3cret"}}}
    job = workspace.job(source, rows=1, connections=connections)
    assert evaluate(job).rows[0].result.output == {"answer": list("s3cret")}
    assert "s3cret" not in repr(job)


def test_progress_ends_at_all_rows_of_each_stage(workspace: Workspace):
    seen = []
    evaluate(workspace.job(graded=True), progress=seen.append)
    last = {p.stage: (p.done, p.expected) for p in seen}
    assert last == {"rows": (8, 8), "grading": (8, 8)}
    assert all(0 <= p.done <= p.expected for p in seen)


def test_a_check_runs_no_row_and_says_how_many_would_be(workspace: Workspace):
    job = workspace.job(graded=True)
    assert check(job) == Plan(expected=8, known=0)
    assert workspace.calls() == []
    evaluate(job)
    assert check(without_runtime(job)) == Plan(expected=8, known=8)
    wrong = replace(job, flow=replace(job.flow, mapping={"text": "${data.txt}"}))
    with pytest.raises(ConfigurationError, match="names no column"):
        check(without_runtime(wrong))


def test_one_row_with_its_trace(workspace: Workspace):
    result = run_row(workspace.job(UPPER), {"text": "abc"})
    assert result.status is Status.COMPLETED
    assert result.output == {"answer": "ABC"}
    assert [node["name"] for node in result.nodes] == ["run"]
    assert run_row(workspace.job(UPPER), {}).error.code == "MissingInput"
