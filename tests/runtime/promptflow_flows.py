"""Small prompt flows of every kind, written to a folder by the tests."""

from __future__ import annotations

from textwrap import dedent


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(dedent(text).lstrip("\n"))
    return folder


CLASSIFY = {
    "flow.dag.yaml": """
        inputs:
          text: {type: string}
          truth: {type: string, default: "COLD"}
        outputs:
          label: {type: string, reference: "${answer.output}"}
          length: {type: int, reference: "${measure.output.chars}"}
        nodes:
        - name: measure
          type: python
          source: {type: code, path: measure.py}
          inputs: {text: "${inputs.text}"}
        - name: ask
          type: llm
          use_variants: true
        - name: answer
          type: python
          source: {type: code, path: answer.py}
          inputs: {said: "${ask.output}"}
        - name: score
          type: python
          aggregation: true
          source: {type: code, path: score.py}
          inputs: {labels: "${answer.output}", truths: "${inputs.truth}", words: "${measure.output.words}"}
        node_variants:
          ask:
            default_variant_id: plain
            variants:
              plain:
                node:
                  type: llm
                  source: {type: code, path: plain.jinja2}
                  inputs: {deployment_name: gpt-x, temperature: 0.5, text: "${inputs.text}"}
                  connection: aoai
                  api: chat
              polite:
                node:
                  type: llm
                  source: {type: code, path: polite.jinja2}
                  inputs: {model: gpt-y, text: "${inputs.text}"}
                  connection: aoai
                  api: chat
        """,
    "plain.jinja2": "# system:\nClassify.\n\n# user:\n{{text}}\n",
    "polite.jinja2": "# system:\nClassify, please.\n\n# user:\nplease {{text}}\n",
    "measure.py": """
        from promptflow.core import tool

        @tool
        def measure(text: str) -> dict:
            if text == "bad":
                raise ValueError("no measure\\nfor this")
            return {"chars": len(text), "words": len(text.split())}
        """,
    "answer.py": """
        from promptflow import tool

        @tool
        def answer(said: str) -> str:
            return said.strip()
        """,
    "score.py": """
        from promptflow import log_metric, tool

        @tool
        def score(labels: list, truths: list, words: list):
            right = [label == truth for label, truth in zip(labels, truths)]
            log_metric("accuracy", sum(right) / len(right))
            log_metric("words", sum(words))
            return right
        """,
}

CONNECTED = {
    "flow.dag.yaml": """
        inputs:
          text: {type: string}
        outputs:
          seen: {type: object, reference: "${look.output}"}
        environment_variables:
          BASE: "${aoai.api_base}"
          PLAIN: 7
        nodes:
        - name: look
          type: python
          source: {type: code, path: look.py}
          inputs: {azure: aoai, openai: aoai, either: aoai, model: some-model, custom: db, text: "${inputs.text}"}
        """,
    "look.py": """
        import os
        from typing import Union
        from promptflow.connections import AzureOpenAIConnection, CustomConnection, OpenAIConnection
        from promptflow.core import tool

        @tool
        def look(azure: AzureOpenAIConnection, openai: OpenAIConnection, model: str, custom: CustomConnection,
                 either: Union[AzureOpenAIConnection, OpenAIConnection], text: str) -> dict:
            return {
                "azure": azure.api_base, "openai": openai.base_url, "either": type(either).__name__,
                "custom": [custom.host, custom.password], "plain": os.environ["PLAIN"], "base": os.environ["BASE"],
                "direct": os.environ["OPENAI_BASE_URL"],
            }
        """,
}

ASYNC_DAG = {
    "flow.dag.yaml": """
        inputs:
          text: {type: string}
        outputs:
          both: {type: string, reference: "${join.output}"}
        nodes:
        - name: one
          type: python
          source: {type: code, path: one.py}
          inputs: {text: "${inputs.text}"}
        - name: join
          type: python
          source: {type: code, path: join.py}
          inputs: {a: "${one.output}"}
        """,
    "one.py": """
        import asyncio
        from promptflow.core import tool

        @tool
        async def one(text: str) -> str:
            await asyncio.sleep(0.01)
            return text.title()
        """,
    "join.py": """
        from promptflow.core import tool

        @tool
        def join(a: str) -> str:
            return a + "!"
        """,
}

FLEX_FUNCTION = {
    "flow.flex.yaml": "entry: entry:shout\n",
    "entry.py": """
        from beside import MARK

        def shout(text: str, times: int = 1) -> str:
            if text == "bad":
                raise LookupError("not here")
            return text.upper() * times + MARK
        """,
    "beside.py": "MARK = '!'\n",
}

FLEX_ASYNC = {
    "flow.flex.yaml": "entry: entry:shout\n",
    "entry.py": """
        import asyncio

        async def shout(text: str):
            await asyncio.sleep(0.01)
            return {"loud": text.upper()}
        """,
}

FLEX_CLASS = {
    "flow.flex.yaml": """
        entry: entry:Grader
        sample:
          init: {weight: 2.0, model_config: {connection: aoai, azure_deployment: gpt-flex}}
        """,
    "entry.py": """
        from dataclasses import dataclass
        from openai import AzureOpenAI
        from promptflow.core import AzureOpenAIModelConfiguration

        @dataclass
        class Grade:
            grade: str
            weight: float

        class Grader:
            def __init__(self, model_config: AzureOpenAIModelConfiguration, weight: float = 1.0):
                self.weight, self.config = weight, model_config

            def __call__(self, text: str) -> Grade:
                config = self.config
                client = AzureOpenAI(azure_endpoint=config.azure_endpoint, api_key=config.api_key,
                                     api_version=config.api_version or "2024-02-01")
                said = client.chat.completions.create(
                    model=config.azure_deployment, messages=[{"role": "user", "content": text}])
                return Grade(said.choices[0].message.content, self.weight)

            def __aggregate__(self, line_results: list) -> dict:
                return {"n": len(line_results), "weight": sum(line.weight for line in line_results)}
        """,
}

BAD_AGGREGATE = {
    "flow.flex.yaml": "entry: entry:Grader\n",
    "entry.py": """
        class Grader:
            def __call__(self, text: str) -> str:
                return text

            def __aggregate__(self, line_results: list) -> dict:
                raise RuntimeError("no total")
        """,
}

PROMPTY = """
    ---
    name: shout
    model:
      api: chat
      configuration:
        {configuration}
      parameters:
        temperature: 0.1
    inputs:
      text: {{type: string}}
    ---
    system:
    Shout.

    user:
    {{{{text}}}}
    """


def prompty(configuration):
    return {"shout.prompty": dedent(PROMPTY).format(configuration=configuration)}


NESTED_PROMPTY = prompty("{type: azure_openai, connection: aoai, azure_deployment: gpt-nested}") | {
    "flow.flex.yaml": "entry: entry:run\n",
    "entry.py": """
        from promptflow.core import Prompty

        def run(text: str) -> str:
            return Prompty.load(source="shout.prompty")(text=text)
        """,
}
