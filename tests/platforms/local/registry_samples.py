"""A project with one small prompt flow, and its candidate."""

from pathlib import Path

from orchestration.candidates import take_candidate

ROOT = Path(__file__).parents[3]
CALLABLE = {
    "callable.toml": 'entry = "answer:answer"\noutputs = ["answer"]\n',
    "answer.py": "from pathlib import Path\n\n"
    "def answer(question: str, connections) -> str:\n"
    "    word = Path('word.txt').read_text()\n"
    '    return f\'{word} {question} {connections.get("aoai", {}).get("base_url")}\'\n',
    "word.txt": "hello",
}
SPEC = "gate: {}\nsample: {inputs: {question: a}, answer: {}}\n"


def make_project(root, files=CALLABLE, *, name="echo", data='{"question": "a"}\n', spec=SPEC):
    """A project folder that knows the frameworks and locks of this one."""
    folder = root / "flows" / name
    folder.mkdir(parents=True, exist_ok=True)
    for link in ("runtime", "requirements"):
        if not (root / link).exists():
            (root / link).symlink_to(ROOT / link)
    for path, content in {**files, "sluice.yaml": spec, "run.yml": "data: data.jsonl\n", "data.jsonl": data}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return root


def make_candidate(root, state, files=CALLABLE, *, name="echo", **content):
    return take_candidate(make_project(root, files, name=name, **content), state, name)
