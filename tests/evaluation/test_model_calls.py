"""Rows that call a model: through the proxy, counted, and stopped at the ceiling."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from evaluation_workspace import EXACT, MAPPING, Workspace, without_runtime

from orchestration.errors import ConfigurationError
from orchestration.evaluation.engine import evaluate
from orchestration.model_proxy import Ceiling, Prices, Upstream

CALLING = """
    import json, urllib.error, urllib.request
    def run(text: str, connections):
        call(text)
        aoai = connections["aoai"]
        body = json.dumps({"model": aoai["model"], "messages": [{"role": "user", "content": text}]}).encode()
        headers = {"Content-Type": "application/json", "Authorization": "Bearer " + aoai["api_key"]}
        request = urllib.request.Request(aoai["base_url"] + "/v1/chat/completions", body, headers)
        try:
            answer = json.load(urllib.request.urlopen(request))
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()) from None
        return {"answer": answer["choices"][0]["message"]["content"]}
"""


class Model(BaseHTTPRequestHandler):
    """Answers in capitals, 60 tokens each; refuses for the rate limit when told to."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.add(self.headers["Authorization"])
        text = body["messages"][-1]["content"].upper()
        usage = {"prompt_tokens": 50, "completion_tokens": 10, "total_tokens": 60}
        answer = {"choices": [{"message": {"role": "assistant", "content": text}}], "usage": usage}
        limited = text in self.server.limited
        content = json.dumps({"error": {"message": "slow down"}} if limited else answer).encode()
        self.send_response(429 if limited else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        server.keys, server.limited = set(), set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def job_of(workspace: Workspace, model: ThreadingHTTPServer, source: str = CALLING, **fields):
    upstream = Upstream(
        "openai", f"http://127.0.0.1:{model.server_port}", api_key="hunter2", prices=Prices(1000.0, 2000.0)
    )
    connections = {"aoai": {"type": "llm", "model": "gpt"}}
    return workspace.job(source, upstreams={"aoai": upstream}, connections=connections, **fields)


def test_rows_reach_the_model_with_the_key_that_user_code_never_sees(workspace: Workspace, model):
    evaluation = evaluate(job_of(workspace, model))
    assert [row.result.output["answer"] for row in evaluation.rows] == [f"T{i}" for i in range(8)]
    assert model.keys == {"Bearer hunter2"}
    assert evaluation.usage["requests"] == 8
    assert evaluation.usage["prompt_tokens"] == 400
    assert evaluation.usage["price"] == pytest.approx(0.56)
    assert "hunter2" not in repr(job_of(workspace, model))
    assert evaluate(without_runtime(job_of(workspace, model))).usage == {}


def test_the_ceiling_stops_the_evaluation_in_mid_run(workspace: Workspace, model):
    job = job_of(workspace, model, rows=60, in_flight=2, ceiling=Ceiling(max_tokens=600), graded=True)
    evaluation = evaluate(job)
    assert (
        evaluation.stopped
        == f"the spending ceiling was reached: {evaluation.usage['prompt_tokens'] * 6 // 5} of 600 tokens are used"
    )
    assert 8 <= evaluation.completed <= 12  # what was in flight may be cancelled though it was counted
    assert evaluation.expected == len(evaluation.rows) == 60
    assert {row.result.error.code for row in evaluation.rows if row.result.error} <= {"Missing", "Raised"}
    assert evaluation.logged == {}
    workspace.calls()
    assert evaluate(replace(job, ceiling=None)).completed == 60
    assert len(workspace.calls()) == 60 - evaluation.completed


def test_a_row_that_waited_too_long_for_a_rate_limit_has_that_code(workspace: Workspace, model):
    model.limited.add("T7")  # the last: the proxy paces what follows
    evaluation = evaluate(job_of(workspace, model, limit_deadline_seconds=0.3, in_flight=1))
    assert [i for i, row in enumerate(evaluation.rows) if row.result.error] == [7]
    assert evaluation.rows[7].result.error.code == "RateLimited"


def test_an_evaluator_may_call_the_model_too(workspace: Workspace, model):
    judge = CALLING.replace("run(text: str, connections)", "run(answer, truth, connections)").replace("text", "answer")
    judge = judge.replace('"answer": answer[', '"grade": answer[')
    evaluator = workspace.subject("evaluator", judge, outputs=["grade"], mapping=MAPPING)
    evaluation = evaluate(replace(job_of(workspace, model), evaluator=evaluator))
    assert [row.grades["grade"] for row in evaluation.rows] == [f"T{i}" for i in range(8)]
    assert evaluation.usage["requests"] == 16


def test_a_connection_that_is_bound_to_nothing_is_refused(workspace: Workspace, model):
    job = replace(job_of(workspace, model), upstreams={})
    with pytest.raises(ConfigurationError, match="connection aoai is bound to no model provider"):
        evaluate(job)


def test_outputs_for_the_aggregation_alone_stay_out_of_the_table(workspace: Workspace):
    inner = EXACT.replace('return {"grade"', 'return {"${node.output}": 1, "grade"').replace(
        'return {"accuracy"', 'return {"inner": inputs and outputs["${node.output}"], "accuracy"'
    )
    job = workspace.job(graded=True)
    job = replace(job, evaluator=workspace.subject("evaluator", inner, outputs=["grade"], mapping=MAPPING))
    for expected in (0, 8):
        evaluation = evaluate(job)
        assert evaluation.cached == expected
        assert evaluation.rows[0].grades == {"grade": 1.0}
        assert evaluation.logged["inner"] == [1] * 8
