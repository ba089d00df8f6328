"""The runner protocol, spoken with the real process and plain functions."""

from __future__ import annotations

import os
import tomllib

import pytest
from runner_fixture import RUNTIME, Runner, make_callable

CODE = """
import asyncio
from sluice_runner import usage

def run(text: str, times: int = 2, flag: bool = False, *, items: list[str] = (), extra=None, connections):
    usage.add(3, 4)
    return {"answer": text * times, "base": connections["aoai"]["base_url"]}

async def run_async(text: str):
    await asyncio.gather(used(1), used(2))
    return text.upper()

async def used(n):
    await asyncio.sleep(0)
    usage.add(n, 10 * n)

def fail(text: str):
    usage.add(5, 6)
    raise LookupError(text)

def aggregate(inputs, outputs):
    return {"n": len(outputs["answer"]), "odd": float("nan"), "far": float("-inf"), "texts": tuple(inputs["text"])}

def bad_aggregate(inputs, outputs):
    raise KeyError("grade")

def dead_aggregate(inputs, outputs):
    import os
    os._exit(7)

def open_ended(**inputs):
    return inputs
"""
AOAI = {"aoai": {"type": "llm", "base_url": "http://127.0.0.1:1/nonce", "api_key": "dummy", "model": None}}


@pytest.fixture
def flow(tmp_path):
    def make(entry="run", **more):
        config = f'entry = "flow:{entry}"\noutputs = ["answer"]\n'
        config += "".join(f'{key} = "flow:{value}"\n' for key, value in more.items())
        return make_callable(tmp_path / "flow", CODE, config)

    return make


def test_ready_describes_the_flow(flow):
    with Runner(flow(aggregate="aggregate"), connections=AOAI) as runner:
        assert runner.ready() == {
            "type": "ready",
            "protocol": 1,
            "framework": "callable",
            "kind": "callable",
            "inputs": {
                "text": {"type": "string"},
                "times": {"type": "int", "default": 2},
                "flag": {"type": "bool", "default": False},
                "items": {"type": "list", "default": []},
                "extra": {"type": "object", "default": None},
            },
            "outputs": {"answer": {"type": "object"}},
            "aggregation": True,
        }


def test_row_gets_inputs_defaults_and_connections(flow):
    with Runner(flow(), connections=AOAI) as runner:
        runner.ready()
        ended = runner.run({"a": {"text": "x"}, "b": {"text": "y", "times": 3, "unknown": 1}})
        assert ended["a"]["output"] == {"answer": "xx", "base": "http://127.0.0.1:1/nonce"}
        assert ended["b"]["output"]["answer"] == "yyy"
        assert ended["a"]["tokens"] == {"prompt": 3, "completion": 4}
        assert 0 <= ended["a"]["seconds"] < 5
        assert "nodes" not in ended["a"]


def test_missing_input_fails_the_row(flow):
    with Runner(flow(), connections=AOAI) as runner:
        runner.ready()
        error = runner.run({"a": {}})["a"]["error"]
        assert error == {"code": "MissingInput", "message": "missing input: text", "where": ""}


def test_undeclared_inputs_reach_a_function_that_takes_them(flow):
    with Runner(flow("open_ended")) as runner:
        assert runner.ready()["inputs"] == {}
        assert runner.run({"a": {"x": 1}})["a"]["output"] == {"x": 1}


def test_coroutine_functions_and_their_tokens(flow):
    with Runner(flow("run_async")) as runner:
        runner.ready()
        ended = runner.run({"a": {"text": "x"}})["a"]
        assert (ended["output"], ended["tokens"]) == ({"answer": "X"}, {"prompt": 3, "completion": 30})


def test_trace_of_a_good_and_a_bad_row(flow):
    with Runner(flow("run_async"), trace=True) as runner:
        runner.ready()
        (node,) = runner.run({"a": {"text": "x"}})["a"]["nodes"]
        assert node.pop("seconds") >= 0
        tokens = {"prompt": 3, "completion": 30}
        assert node == {"name": "run_async", "inputs": {"text": "x"}, "output": {"answer": "X"}, "error": None} | {
            "tokens": tokens
        }
    with Runner(flow("fail"), trace=True) as runner:
        runner.ready()
        ended = runner.run({"a": {"text": "x"}})["a"]
        assert ended["nodes"][0]["error"] == "LookupError: x"
        assert ended["tokens"] == {"prompt": 5, "completion": 6}


def test_metrics_come_as_they_were_logged(flow):
    with Runner(flow("run_async", aggregate="aggregate")) as runner:
        runner.ready()
        runner.send(type="aggregate", inputs={"text": ["a", "b"]}, outputs={"answer": ["A", "B"]})
        values = runner.next("metrics", "failed")["values"]
        assert values == {"n": 2, "odd": "NaN", "far": "-Infinity", "texts": ["a", "b"]}


def test_aggregation_that_raises_or_dies_is_a_failure_and_rows_go_on(flow):
    with Runner(flow("run_async", aggregate="bad_aggregate")) as runner:
        runner.ready()
        runner.send(type="aggregate", inputs={}, outputs={})
        failed = runner.next("metrics", "failed")
        assert (failed["code"], failed["message"]) == ("Raised", "KeyError: 'grade'")
        assert failed["where"].startswith("flow.py:")
    with Runner(flow("run_async", aggregate="dead_aggregate")) as runner:
        runner.ready()
        runner.send(type="aggregate", inputs={}, outputs={})
        failed = runner.next("metrics", "failed")
        assert (failed["code"], failed["message"]) == ("Crashed", "the process ended in the aggregation: exit code 7")
        assert runner.run({"a": {"text": "x"}})["a"]["output"] == {"answer": "X"}


def fails_to_open(flow, **opening):
    with Runner(flow, **opening) as runner:
        failed = runner.next("ready", "failed")
        assert failed.pop("type") == "failed"
        assert runner.process.wait(20) == 1
        return failed


@pytest.mark.parametrize(
    ("code", "config", "failed"),
    [
        ("import nowhere", None, ("Raised", "ModuleNotFoundError: No module named 'nowhere'", "flow.py:1")),
        ("\nrun = 1 +", None, ("Syntax", "invalid syntax", "flow.py:2")),
        ("import sys; sys.exit(2)", None, ("Raised", "SystemExit: 2", "flow.py:1")),
        ("import os; os._exit(5)", None, ("Crashed", "while it opened the prompt flow: exit code 5", "")),
        ("x = 1", None, ("NoEntry", "flow has no function run", "callable.toml")),
        ("", "entry = 3", ("BadConfig", 'needs entry = "module:function"', "callable.toml")),
        ("", 'entry = "flow"', ("BadConfig", "'flow' is not", "callable.toml")),
        ("", 'entry = "a:b"\noutput = []', ("BadConfig", "unknown key output", "callable.toml")),
        ("", 'entry = "a:b"\noutputs = [1]', ("BadConfig", "outputs must be a list of names", "callable.toml")),
        ("", "entry", ("BadConfig", "not TOML", "callable.toml")),
    ],
)
def test_flow_that_cannot_be_opened(tmp_path, code, config, failed):
    flow = make_callable(tmp_path / "flow", code, config or 'entry = "flow:run"\n')
    said = fails_to_open(flow)
    assert (said["code"], said["where"]) == (failed[0], failed[2])
    assert failed[1] in said["message"]


def test_folder_without_a_flow(tmp_path):
    assert fails_to_open(tmp_path / "absent")["code"] == "NoFlow"
    assert "flow.dag.yaml" in fails_to_open(tmp_path)["message"]


def test_it_may_be_prepared_before_it_is_opened(flow):
    folder = flow()
    with Runner(folder, type="prepare") as runner:
        runner.send(type="open", protocol=1, flow=str(folder), connections=AOAI)
        assert runner.ready()["kind"] == "callable"


def test_what_cannot_be_prepared_ends_the_runner(tmp_path):
    with Runner(tmp_path, type="prepare") as runner:
        assert runner.next("failed")["code"] == "NoFlow"
        assert runner.process.wait(5) == 1


def test_variants_and_overrides_need_nodes(flow):
    assert fails_to_open(flow(), variant="${node.a}", connections=AOAI)["code"] == "Unsupported"


def test_other_protocol_is_refused(flow):
    failed = fails_to_open(flow(), protocol=2)
    assert failed["code"] == "Protocol"
    assert "protocol 1, not 2" in failed["message"]


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b'{"type": "jump"}\n', b'{"type": "row"}\n', b'{"type": "open"}\n'])
def test_line_that_is_no_message_ends_the_runner(flow, line):
    with Runner(flow("run_async")) as runner:
        runner.ready()
        os.write(runner.write, line)
        assert runner.next("failed")["code"] == "Protocol"
        assert runner.process.wait(20) == 1


def test_framework_that_is_not_installed(tmp_path):
    (tmp_path / "flow.dag.yaml").write_text("nodes: []\n")
    failed = fails_to_open(tmp_path)  # the orchestrator's own interpreter has no promptflow
    assert failed["code"] == "NoFramework"
    assert "the flow's requirements must name promptflow" in failed["message"]


def test_flow_folder_is_home_and_stays_as_it_was(tmp_path):
    code = "import os\nfrom beside import name\ndef run():\n    return [os.getcwd(), name, open('data.txt').read()]\n"
    flow = make_callable(tmp_path / "flow", code)
    (flow / "beside.py").write_text("name = 'beside'")
    (flow / "data.txt").write_text("data")
    before = sorted(flow.rglob("*"))
    with Runner(flow) as runner:
        runner.ready()
        assert runner.run({"a": {}})["a"]["output"]["answer"] == [str(flow.resolve()), "beside", "data"]
    assert sorted(flow.rglob("*")) == before


def test_frameworks_file_says_what_the_runner_does():
    data = tomllib.loads((RUNTIME / "frameworks.toml").read_text())
    listed = [(marker, entry["name"]) for entry in data["framework"] for marker in entry["markers"]]
    source = (RUNTIME / "sluice_runner" / "adapters" / "__init__.py").read_text()
    names: dict = {}
    exec(source[source.index("MARKERS = ") : source.index("\n\n\ndef ")], names)
    assert listed == list(names["MARKERS"])
    locks = {entry["lock"] for entry in data["framework"]} - {""}
    assert all((RUNTIME.parent / "requirements" / f"{lock}.txt").exists() for lock in locks)
