"""promptflow's flows through the real runner, in a real runtime, against a model server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from textwrap import dedent

import promptflow_flows as flows
import psutil
import pytest
from fake_model import fake_model
from runner_fixture import Runner, assert_gone

pytestmark = pytest.mark.real
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def model():
    with fake_model() as server:
        yield server


@pytest.fixture
def start(promptflow_python, model, tmp_path):
    """Start the runner on a flow (a mapping of files), with a home of its own."""
    model.asked.clear()

    def run(files, **opening):
        flow = flows.write(tmp_path / "flow", files)
        env = {"HOME": str(tmp_path / "home"), **opening.pop("env", {})}
        opening = {"connections": {"aoai": model.connection}, "unresponsive_seconds": 20} | opening
        return Runner(flow, python=promptflow_python, env=env, **opening)

    return run


def run_rows(runner, *texts):
    ended = runner.run({text: {"text": text} for text in texts})
    return {text: end["output"] if end["status"] == "completed" else end["error"] for text, end in ended.items()}


def test_dag_is_described(start):
    with start(flows.CLASSIFY) as runner:
        ready = runner.ready()
        assert (ready["framework"], ready["kind"], ready["aggregation"]) == ("promptflow", "dag", True)
        assert ready["inputs"] == {"text": {"type": "string"}, "truth": {"type": "string", "default": "COLD"}}
        assert ready["outputs"] == {"label": {"type": "string"}, "length": {"type": "int"}}


def test_llm_node_goes_to_the_model_proxy_and_is_counted_and_traced(start, model):
    with start(flows.CLASSIFY, trace=True) as runner:
        runner.ready()
        ended = runner.run({"a": {"text": "cold"}})["a"]
    assert ended["output"] == {"label": "COLD", "length": 4, "${measure.output.words}": 1}
    assert ended["tokens"] == {"prompt": 10, "completion": 5}
    nodes = {node["name"]: node for node in ended["nodes"]}
    assert nodes["ask"]["prompt"] == "# system:\nClassify.\n\n# user:\ncold"
    assert nodes["ask"]["tokens"] == {"prompt": 10, "completion": 5}
    assert (nodes["measure"]["inputs"], nodes["measure"]["output"]) == ({"text": "cold"}, {"chars": 4, "words": 1})
    (path, headers, body) = model.asked[0]
    assert path.startswith("/nonce/openai/deployments/gpt-x/chat/completions?api-version=")
    assert headers["api-key"] == "dummy"
    assert body["temperature"] == 0.5


def test_variant_and_overrides(start, model):
    overrides = {"ask": {"temperature": 0.25}}
    with start(flows.CLASSIFY, variant="${ask.polite}", overrides=overrides) as runner:
        runner.ready()
        assert run_rows(runner, "cold")["cold"]["label"] == "PLEASE COLD"
    (path, headers, body) = model.asked[0]
    assert path == "/nonce/v1/chat/completions"  # the node names a model, not a deployment: OpenAI
    assert headers["authorization"] == "Bearer dummy"
    assert (body["model"], body["temperature"]) == ("gpt-y", 0.25)


@pytest.mark.parametrize(
    ("opening", "code"),
    [
        ({"variant": "${ask.rude}"}, "NoVariant"),
        ({"variant": "polite"}, "NoVariant"),
        ({"overrides": {"nobody": {"x": 1}}}, "NoNode"),
        ({"connections": {}}, "Raised"),
        ({"env": {"PF_USE_SANDBOX_FOR_JINJA": "false"}}, "Unsafe"),
    ],
)
def test_dag_that_cannot_be_opened(start, opening, code):
    with start(flows.CLASSIFY, **opening) as runner:
        failed = runner.next("ready", "failed")
        assert (failed["type"], failed["code"]) == ("failed", code), failed
        assert runner.process.wait(20) == 1


def test_a_variant_that_is_not_there_comes_with_those_that_are(start):
    with start(flows.CLASSIFY, variant="${ask.rude}") as runner:
        message = runner.next("failed")["message"]
        assert message == "there is no variant ${ask.rude}; known are ${ask.plain}, ${ask.polite}"


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        ({"measure.py": "\nmeasure = 1 +\n"}, ("Syntax", "invalid syntax", "measure.py:1")),
        ({"helper.py": "def f(:\n"}, ("Syntax", "invalid syntax", "helper.py:1")),
        ({"helper.py": "x = 1\nraise OSError('no disk')\n"}, ("Raised", "OSError", "helper.py:2")),
    ],
)
def test_a_node_that_does_not_load_is_named_by_its_file(start, broken, failed):
    importing = {"measure.py": "import helper\n" + dedent(flows.CLASSIFY["measure.py"])}
    with start(flows.CLASSIFY | importing | broken) as runner:
        said = runner.next("ready", "failed")
        assert (said["code"], said["where"]) == (failed[0], failed[2]), said
        assert failed[1] in said["message"]


def test_files_that_are_not_in_the_folder_are_asked_for(start):
    including = {"flow.dag.yaml": dedent(flows.CLASSIFY["flow.dag.yaml"]) + "additional_includes: [../words.py]\n"}
    with start(flows.CLASSIFY | including) as runner:
        said = runner.next("ready", "failed")
        assert (said["type"], said["where"]) == ("failed", "flow.dag.yaml")
        assert said["message"].startswith("additional_includes names ../words.py: put a copy of it")
    with start(flows.CLASSIFY | including | {"words.py": ""}) as runner:
        runner.ready()


def test_row_failures_of_a_dag(start):
    with start(flows.CLASSIFY) as runner:
        runner.ready()
        ended = runner.run({"bad": {"text": "bad"}, "none": {}, "good": {"text": "cold"}})
        where = {"code": "Raised", "message": "measure: ValueError: no measure for this", "where": "measure.py:6"}
        assert ended["bad"]["error"] == where
        assert ended["none"]["error"]["code"] == "MissingInput"
        assert ended["good"]["status"] == "completed"


def test_connections_come_as_each_node_wants_them(start, model):
    custom = {"type": "custom", "values": {"host": "h"}, "secrets": {"password": "pw-7f3a"}}
    base = model.connection["base_url"]
    with start(flows.CONNECTED, connections={"aoai": model.connection, "db": custom}) as runner:
        runner.ready()
        seen = run_rows(runner, "x")["x"]["seen"]
        assert seen == {
            "azure": base,
            "openai": f"{base}/v1",
            "either": "OpenAIConnection",
            "custom": ["h", "pw-7f3a"],
            "plain": "7",
            "base": base,
            "direct": f"{base}/v1",
        }
        for process in runner.tree():
            assert "pw-7f3a" not in json.dumps([process.cmdline(), process.environ()])


def test_secret_is_not_put_into_the_environment(start, model):
    files = {**flows.CONNECTED}
    files["flow.dag.yaml"] = files["flow.dag.yaml"].replace("${aoai.api_base}", "${db.password}")
    custom = {"type": "custom", "values": {}, "secrets": {"password": "pw-7f3a"}}
    with start(files, connections={"aoai": model.connection, "db": custom}) as runner:
        failed = runner.next("ready", "failed")
        assert failed["code"] == "Unsafe"
        assert "pw-7f3a" not in failed["message"]


def test_node_that_wants_another_connection(start, model):
    with start(flows.CONNECTED, connections={"aoai": model.connection, "db": model.connection}) as runner:
        failed = runner.next("ready", "failed")
        assert "look.custom wants CustomConnection" in failed["message"]


def test_async_dag(start):
    with start(flows.ASYNC_DAG) as runner:
        runner.ready()
        assert run_rows(runner, "a", "b") == {"a": {"both": "A!"}, "b": {"both": "B!"}}


def test_flex_function(start):
    with start(flows.FLEX_FUNCTION, trace=True) as runner:
        ready = runner.ready()
        assert (ready["kind"], ready["aggregation"]) == ("flex", False)
        assert ready["inputs"] == {"text": {"type": "string"}, "times": {"type": "int", "default": 1}}
        assert ready["outputs"] == {"output": {"type": "string"}}
        rows = run_rows(runner, "ab", "bad")
        assert rows["ab"] == {"output": "AB!"}
        assert rows["bad"]["where"] == "entry.py:5"
        assert rows["bad"]["message"] == "shout: LookupError: not here"
        assert runner.run({"m": {}})["m"]["error"]["code"] == "MissingInput"


def test_flex_coroutine(start):
    with start(flows.FLEX_ASYNC) as runner:
        assert runner.ready()["outputs"] == {}
        assert run_rows(runner, "a", "b") == {"a": {"loud": "A"}, "b": {"loud": "B"}}


def test_flex_class_with_init_and_aggregation(start, model):
    with start(flows.FLEX_CLASS, overrides={"init": {"weight": 3.0}}, trace=True) as runner:
        ready = runner.ready()
        assert ready["outputs"] == {"grade": {"type": "string"}, "weight": {"type": "double"}}
        ended = runner.run({"a": {"text": "hi"}})["a"]
        assert ended["output"] == {"grade": "HI", "weight": 3.0}
        assert ended["tokens"] == {"prompt": 10, "completion": 5}
        assert any(node.get("prompt") == "# user:\nhi" for node in ended["nodes"])
        runner.send(type="aggregate", inputs={}, outputs={"grade": ["A", "B"], "weight": [1.0, 2.0]})
        assert runner.next("metrics", "failed")["values"] == {"n": 2, "weight": 3.0}
    assert model.paths == ["/nonce/openai/deployments/gpt-flex/chat/completions"]


def test_aggregation_that_raises_is_a_failure(start):
    with start(flows.BAD_AGGREGATE) as runner:
        runner.ready()
        runner.send(type="aggregate", inputs={}, outputs={"output": ["a"]})
        failed = runner.next("metrics", "failed")
        assert (failed["type"], failed["message"], failed["where"]) == (
            "failed",
            "RuntimeError: no total",
            "entry.py:6",
        )
    dag = {**flows.CLASSIFY, "score.py": flows.CLASSIFY["score.py"].replace("sum(right)", "undefined")}
    with start(dag) as runner:
        runner.ready()
        outputs = {"label": ["A"], "length": [1], "${measure.output.words}": [1]}
        runner.send(type="aggregate", inputs={"text": ["a"], "truth": ["A"]}, outputs=outputs)
        failed = runner.next("metrics", "failed")
        assert failed["message"] == "score: NameError: name 'undefined' is not defined"
        assert failed["where"] == "score.py:6"
        runner.send(type="aggregate", inputs={"text": ["a"]}, outputs={"label": ["A"]})
        assert "${measure.output.words}" in runner.next("metrics", "failed")["message"]


@pytest.mark.parametrize(
    ("configuration", "path"),
    [
        (
            "{type: azure_openai, azure_deployment: gpt-p, azure_endpoint: 'https://elsewhere', api_key: real}",
            "/nonce/openai/deployments/gpt-p/chat/completions",
        ),
        (
            "{type: azure_openai, azure_deployment: gpt-p, azure_endpoint: '${env:NOT_SET}', api_key: '${env:NO}'}",
            "/nonce/openai/deployments/gpt-p/chat/completions",
        ),
        ("{type: azure_openai, connection: aoai, azure_deployment: d}", "/nonce/openai/deployments/d/chat/completions"),
        ("{type: openai, model: gpt-q, base_url: 'https://elsewhere/v1'}", "/nonce/v1/chat/completions"),
    ],
)
def test_prompty(start, model, configuration, path):
    with start(flows.prompty(configuration)) as runner:
        ready = runner.ready()
        assert (ready["kind"], ready["inputs"]) == ("prompty", {"text": {"type": "string"}})
        assert ready["outputs"] == {"output": {"type": "string"}}
        ended = runner.run({"a": {"text": "hi"}})["a"]
        assert (ended["output"], ended["tokens"]) == ({"output": "HI"}, {"prompt": 10, "completion": 5})
    assert model.paths == [path]


def test_prompty_inside_a_flex_flow(start, model):
    with start(flows.NESTED_PROMPTY) as runner:
        assert runner.ready()["kind"] == "flex"
        assert run_rows(runner, "hi") == {"hi": {"output": "HI"}}
    assert model.paths == ["/nonce/openai/deployments/gpt-nested/chat/completions"]


@pytest.mark.parametrize("full", ["0", "1"])
def test_nothing_is_sent_written_or_left_behind(start, model, tmp_path, full):
    proxy = f"http://127.0.0.1:{model.server_port}"
    env = {"HTTPS_PROXY": proxy, "HTTP_PROXY": proxy, "NO_PROXY": "127.0.0.1", "SLUICE_RUNNER_FULL_IMPORT": full}
    env |= {"TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    with start(flows.CLASSIFY, env=env) as runner:
        runner.ready()
        assert runner.tree()[1:]
        threads = psutil.Process(runner.process.pid).num_threads()
        files = sorted((tmp_path / "flow").rglob("*"))
        ended = runner.run({str(n): {"text": "cold"} for n in range(20)})
        assert [end for end in ended.values() if end["status"] != "completed"] == []
        assert {end["output"]["label"] for end in ended.values()} == {"COLD"}
        processes = runner.tree()
        assert runner.close() == 0
    assert threads == 1
    assert_gone(processes)
    assert set(model.paths) == {"/nonce/openai/deployments/gpt-x/chat/completions"}
    assert sorted((tmp_path / "flow").rglob("*")) == files == sorted((tmp_path / "flow").glob("*"))
    assert not (tmp_path / "home").exists()
    left = [path.name for path in (tmp_path / "tmp").iterdir()]
    assert not [name for name in left if full == "0" or not name.startswith("Microsoft-AzureMonitor")]


def test_crash_in_a_dag_costs_only_its_row(start):
    files = {**flows.FLEX_FUNCTION, "beside.py": "import os\nMARK = '!'\n"}
    files["entry.py"] = files["entry.py"].replace('raise LookupError("not here")', "__import__('os')._exit(3)")
    with start(files) as runner:
        runner.ready()
        rows = {text: {"text": text} for text in ("a", "bad", "b")}
        ended = runner.run(rows)
        suspects = {row: rows[row] for row, end in ended.items() if isinstance(end, str)}
        ended |= runner.run(suspects, alone=True)
        assert ended["bad"] == "exit code 3"
        assert [ended[row]["output"] for row in "ab"] == [{"output": "A!"}, {"output": "B!"}]


DATA = ["cold", "warm day", "bad", "ice", "one two three"]


@pytest.mark.parametrize(
    "files", [flows.CLASSIFY, flows.FLEX_CLASS, flows.FLEX_FUNCTION], ids=["dag", "flex class", "flex function"]
)
def test_same_outputs_and_metrics_as_promptflow_itself(start, model, promptflow_python, tmp_path, files):
    base_url = model.connection["base_url"]
    # promptflow's own worker processes can't read a stored connection here: give them the address in the file
    files = {
        name: text.replace("connection: aoai, ", f"azure_endpoint: '{base_url}', api_key: dummy, ")
        for name, text in files.items()
    }
    expected = reference(promptflow_python, tmp_path, files, base_url)
    with start(files) as runner:
        declared = runner.ready()["outputs"]
        ended = runner.run({str(n): {"text": text} for n, text in enumerate(DATA)})
        good = [n for n in range(len(DATA)) if ended[str(n)]["status"] == "completed"]
        outputs = [ended[str(n)]["output"] for n in good]
        runner.send(
            type="aggregate",
            inputs={"text": [DATA[n] for n in good]},
            outputs={name: [output[name] for output in outputs] for name in outputs[0]},
        )
        metrics = runner.next("metrics", "failed")
    for n in range(len(DATA)):
        theirs = expected["outputs"][str(n)]
        if n in good:
            assert {name: ended[str(n)]["output"][name] for name in declared} == theirs
        else:
            assert set(theirs.values()) == {"(Failed)"}
    assert metrics["values"] == expected["metrics"]


def reference(python, tmp_path, files, base_url):
    flow = flows.write(tmp_path / "theirs", files)
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in DATA))
    done = subprocess.run(
        [python, HERE / "reference_run.py", flow, data, base_url],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path / "their-home")},
        timeout=100,
    )
    marked = [line for line in done.stdout.splitlines() if line.startswith("REFERENCE")]
    assert marked, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(marked[0].removeprefix("REFERENCE"))
