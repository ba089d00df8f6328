"""A registered model in an environment made of its own requirements, loaded by MLflow itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.candidates import take_candidate
from orchestration.platforms.local.registry import LocalRegistry
from orchestration.uv import run_uv

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
FLOW = {
    "callable.toml": 'entry = "answer:answer"\noutputs = ["answer"]\n',
    "answer.py": "from pathlib import Path\n\ndef answer(question: str) -> str:\n"
    "    return Path('word.txt').read_text() + question\n",
    "word.txt": "hello ",
    "sluice.yaml": "connections: []\ngate: {}\nsample: {inputs: {question: a}, answer: {}}\n",
    "run.yml": "data: data.jsonl\n",
    "data.jsonl": '{"question": "a"}\n',
}
ASK = """
import json, sys
import mlflow.pyfunc
import pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
row = json.loads(sys.argv[2])
print(json.dumps([model.predict([row]), model.predict(pandas.DataFrame([row]))]))
"""


@pytest.fixture
def project(tmp_path):
    """A project with one callable, which knows the frameworks and locks of this one."""
    root = tmp_path / "project"
    (root / "flows" / "echo").mkdir(parents=True)
    for link in ("runtime", "requirements"):
        (root / link).symlink_to(ROOT / link)
    for name, content in FLOW.items():
        (root / "flows" / "echo" / name).write_text(content)
    return root


@pytest.fixture
def embedded_model():
    """The address of a model on this machine."""
    command = [sys.executable, "-m", "orchestration.embedded_model", "--until-eof"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()


def ask(model_folder, row, folder, **variables):
    """Build the environment from the model's requirements and ask the model in it."""
    python = folder / "venv" / "bin" / "python"
    for argv in (
        ["venv", "--quiet", "--python", sys.executable, str(folder / "venv")],
        ["pip", "install", "--quiet", "--require-hashes", "--python", str(python), "-r", "requirements.txt"],
    ):
        done = run_uv(argv, beside=folder, cwd=model_folder)
        assert done.returncode == 0, done.stderr
    home, temporary = folder / "home", folder / "tmp"
    home.mkdir()
    temporary.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(temporary), **variables}
    environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
    answer = subprocess.run(
        [python, "-c", ASK, model_folder, json.dumps(row)],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    assert list(home.iterdir()) == list(temporary.iterdir()) == []
    return json.loads(answer.stdout.splitlines()[-1])  # frameworks log to standard output


def registered_folder(root, state, name):
    registry = LocalRegistry(state)
    candidate = take_candidate(root, state, name)
    model = registry.register_model(candidate, decision="d" * 64, tags={})
    return registry, model, registry.model_folder(model)


def test_a_callable_answers(project, tmp_path):
    registry, model, folder = registered_folder(project, tmp_path / "state", "echo")
    assert ask(folder, {"question": "you"}, tmp_path) == [[{"answer": "hello you"}]] * 2
    registry.verify(model)


def test_a_prompt_flow_answers_with_the_connection_of_its_environment(tmp_path, embedded_model):
    registry, model, folder = registered_folder(ROOT, tmp_path / "state", "named_entity_recognition")
    row = {"text": "Harriet Osei flew from Leeds to Lisbon on 4 March 2024.", "entity_type": "location"}
    answers = ask(folder, row, tmp_path, AOAI_API_BASE=embedded_model, AOAI_API_KEY="secret-of-the-test")
    assert answers == [[{"entities": ["Leeds", "Lisbon"]}]] * 2
    registry.verify(model)
    for file in folder.rglob("*"):
        assert not file.is_file() or b"secret-of-the-test" not in file.read_bytes()
