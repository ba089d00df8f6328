"""The loader of registered models, in the process of whoever loads one: no MLflow is needed to call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "runtime"
FLOW = {
    "callable.toml": 'entry = "answer:answer"\noutputs = ["answer"]\n',
    "answer.py": "def answer(question: str, connections) -> str:\n"
    "    if question == 'bad':\n"
    "        raise ValueError('no such thing')\n"
    "    return f'{question} by {connections}'\n",
}
LOAD = """
import json, sys
from sluice_runner.pyfunc import _load_pyfunc
from sluice_runner.adapters.base import OpenFailed, RowFailed

class Frame:
    def __init__(self, rows): self.rows = rows
    def to_dict(self, how): return self.rows if how == "records" else None

flow, config = sys.argv[1], json.loads(sys.argv[2])
def say(value): print(json.dumps(value))
"""
OPEN = "model = _load_pyfunc(flow, config) if config else _load_pyfunc(flow)\n"


@pytest.fixture
def run(tmp_path):
    """Load the flow in a process of its own, run code on `model`, return what it said, line by line."""
    for name, content in FLOW.items():
        (tmp_path / name).write_text(content)

    def run(code, config=None, **variables):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AOAI_")} | variables
        environment["PYTHONPATH"] = str(RUNTIME)
        done = subprocess.run(
            [sys.executable, "-c", LOAD + (OPEN if "model." in code else "") + code, str(tmp_path), json.dumps(config)],
            env=environment, capture_output=True, text=True, timeout=60, cwd=RUNTIME,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.mark.parametrize("rows", ['[{"question": "a"}]', '{"question": "a"}', 'Frame([{"question": "a"}])'])
def test_rows_come_as_a_list_as_one_or_as_a_frame(run, rows):
    assert run(f"say(model.predict({rows}))") == [[{"answer": "a by {}"}]]


def test_answers_keep_the_order_of_the_rows(run):
    answers = run('say(model.predict([{"question": str(n)} for n in range(100)]))')[0]
    assert answers == [{"answer": f"{n} by {{}}"} for n in range(100)]


def test_no_rows_give_no_answers(run):
    assert run("say(model.predict([]))") == [[]]


def test_a_row_that_fails_is_named_with_the_line(run):
    code = """
try:
    model.predict([{"question": "good"}, {"question": "bad"}])
except RowFailed as error:
    say([error.code, error.message, error.where])
"""
    assert run(code) == [["Raised", "row 1: ValueError: no such thing", "answer.py:3"]]


@pytest.mark.parametrize("rows", ["'text'", "[1]", "3", "None"])
def test_other_input_is_refused(run, rows):
    code = f"""
try:
    model.predict({rows})
except TypeError as error:
    say(str(error))
"""
    assert "list of mappings" in run(code)[0]


def test_connections_come_from_the_config(run):
    given = {"type": "llm", "base_url": "http://127.0.0.1:1", "api_key": "dummy", "model": "m"}
    assert run('say(model.predict({"question": "a"}))', {"connections": {"aoai": given}}) == [
        [{"answer": f"a by {{'aoai': {given}}}"}]
    ]


def test_connections_that_are_not_described_come_from_the_environment(run):
    variables = {"AOAI_API_BASE": "http://127.0.0.1:1", "AOAI_API_KEY": "dummy"}
    answer = run('say(model.predict({"question": "a"}))', {"connections": {"aoai": {}}}, **variables)[0][0]["answer"]
    assert "'base_url': 'http://127.0.0.1:1', 'api_key': 'dummy'" in answer
    assert run('say(model.predict({"question": "a"}))', {"connections": {"aoai": {}}}) == [[{"answer": "a by {}"}]]


def test_a_flow_that_misses_its_connection_says_what_to_set(run, tmp_path):
    (tmp_path / "answer.py").write_text("raise LookupError('no aoai')")
    code = """
try:
    _load_pyfunc(flow, {"connections": {"aoai": {}}})
except OpenFailed as error:
    say(error.message)
"""
    said = run(code)[0]
    assert "LookupError: no aoai" in said
    assert "aoai; set AOAI_API_BASE and AOAI_API_KEY" in said
