"""The two prompt flows that are measured, written into a folder: one node that calls a model, one that does nothing."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from benchmarks.commands import ROOT
from orchestration.runtimes import ensure_runtime

CONNECTION = "aoai"
MODEL = "gpt-4o-mini"
MAX_TOKENS = 64
ANSWER_TOKENS = 16
SYSTEM = "You answer questions about a text in one short sentence."
QUESTION = "What is the following text about? Text: {{text}}"

_LLM_FLOW = f"""
    inputs:
      text: {{type: string}}
    outputs:
      answer: {{type: string, reference: "${{ask.output}}"}}
    nodes:
    - name: ask
      type: llm
      source: {{type: code, path: ask.jinja2}}
      inputs:
        model: {MODEL}
        temperature: 0
        max_tokens: {MAX_TOKENS}
        text: "${{inputs.text}}"
      provider: OpenAI
      connection: {CONNECTION}
      api: chat
    """
_TRIVIAL_FLOW = """
    inputs:
      text: {type: string}
    outputs:
      answer: {type: string, reference: "${shout.output}"}
    nodes:
    - name: shout
      type: python
      source: {type: code, path: shout.py}
      inputs: {text: "${inputs.text}"}
    """
_SHOUT = """
    from promptflow.core import tool


    @tool
    def shout(text: str) -> str:
        return text.upper()
    """


def promptflow_runtime(more: str = "") -> Path:
    """The interpreter of the default runtime, built if need be; `more` are further locked requirements."""
    lock = (ROOT / "requirements" / "promptflow.txt").read_text(encoding="utf-8") + more
    return ensure_runtime(lock, folder=ROOT / ".sluice" / "runtimes", root=ROOT)


def llm_flow(folder: Path) -> Path:
    """A prompt flow with one `llm` node."""
    return _written(folder, {"flow.dag.yaml": _LLM_FLOW, "ask.jinja2": f"# system:\n{SYSTEM}\n\n# user:\n{QUESTION}\n"})


def trivial_flow(folder: Path) -> Path:
    """A prompt flow with one python node that takes no time."""
    return _written(folder, {"flow.dag.yaml": _TRIVIAL_FLOW, "shout.py": _SHOUT})


def rows(path: Path, count: int, extra: dict[str, str] | None = None) -> Path:
    """So many different rows as JSON lines; each text is a few dozen tokens long."""
    sentence = "The ferry of the harbour line was late again, and the baker at the pier sold out before noon."
    lines = [{"text": f"Note {number}. {sentence}", **(extra or {})} for number in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def _written(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(textwrap.dedent(text).lstrip())
    return folder
