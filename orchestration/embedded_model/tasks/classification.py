"""Classification into labels that the prompt names: keywords of the labels, and likeness to the prompt's examples."""

# ruff: noqa: RUF001 - punctuation and letters of many scripts are what this file is about

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from orchestration.embedded_model.tasks.label_list import Label, labels_of
from orchestration.embedded_model.tasks.prompt import Prompt
from orchestration.embedded_model.tasks.scoring import NEITHER, Bag, scores

_TASK = re.compile(
    r"\b(?:classif(?:y|ied|ication)|categori[sz]e|label|assign|choose|pick|decide which|which of|determine)\b",
    re.IGNORECASE,
)
_CUE = re.compile(
    r"^[ \t>*#-]*(?:output|answer|category|label|class|result|response)[ \t*]*:", re.IGNORECASE | re.MULTILINE
)
_URL = re.compile(r"\b(?:https?://|www\.)[^\s<>\"'）)]+", re.IGNORECASE)
_QUOTED_KEY = re.compile(r"[\"'](\w+)[\"']\s*:|\bkeys?\s+[\"'`]?(\w+)[\"'`]?(?:\s+and\s+[\"'`]?(\w+))?", re.IGNORECASE)
_JSON_WANTED = re.compile(r"\bjson\b", re.IGNORECASE)
_LIKENESS = 2.0
_LEAST_SCORE = 1.2  # more than one word


@dataclass(frozen=True, slots=True)
class Example:
    """A worked example of the prompt: what was asked, and the answer as it was written."""

    query: str
    answer: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The label, and what spoke for it: the address, the text, or both."""

    label: str
    by_url: bool
    by_text: bool


def reply(prompt: Prompt) -> str | None:
    """The label in the form that the prompt shows, or None if it asks for no classification."""
    if not _TASK.search(prompt.instructions + "\n" + prompt.query):
        return None
    labels = labels_of(f"{prompt.instructions}\n{prompt.query}")
    if len(labels) < 2:
        return None
    examples, query = _examples(prompt)
    return _format(judge(query, labels, examples), labels, examples, prompt)


def judge(query: str, labels: Sequence[Label], examples: Sequence[Example] = ()) -> Judgement:
    """The best label for `query`, the first of equals; without enough evidence the label that means "none"."""
    urls = Bag.of(" ".join(_URL.findall(query)))
    text = Bag.of(_URL.sub(" ", query))
    by_url, by_text = scores(tuple(labels), urls), scores(tuple(labels), text)
    alike = _likeness(text.counts, labels, examples)
    totals = [sum(evidence) for evidence in zip(by_url, by_text, alike, strict=True)]
    best = max(range(len(labels)), key=lambda i: totals[i])
    if totals[best] < _LEAST_SCORE:
        best = next((i for i, label in enumerate(labels) if label.name.lower() in NEITHER), best)
    return Judgement(labels[best].name, by_url[best] > 0, by_text[best] > 0)


def _likeness(bag: Mapping[str, int], labels: Sequence[Label], examples: Sequence[Example]) -> list[float]:
    """For each label the cosine to its most similar example, weighted."""
    best = [0.0] * len(labels)
    for example in examples:
        cosine = _cosine(bag, _example_counts(example.query))
        for i, label in enumerate(labels):
            if re.search(rf"\b{re.escape(label.name)}\b", example.answer, re.IGNORECASE):
                best[i] = max(best[i], _LIKENESS * cosine)
    return best


@lru_cache(maxsize=256)
def _example_counts(query: str) -> Mapping[str, int]:
    """Kept, because every row of a prompt flow brings the same examples."""
    return Bag.of(_URL.sub(" ", query)).counts


def _cosine(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    dot = sum(count * b.get(word, 0) for word, count in a.items())
    norm = math.sqrt(sum(c * c for c in a.values()) * sum(c * c for c in b.values()))
    return dot / norm if norm else 0.0


def _examples(prompt: Prompt) -> tuple[list[Example], str]:
    """The worked examples, and what is to be classified."""
    examples = [Example(asked, answered) for asked, answered in prompt.turns]
    cues = list(_CUE.finditer(prompt.query))
    if not cues:
        return examples, prompt.text or prompt.query
    start = 0
    for cue, following in zip(cues, [*cues[1:], None], strict=True):
        end = following.start() if following else len(prompt.query)
        answered, rest = _first_answer(prompt.query[cue.end() : end])
        if not answered:
            return examples, _asked(prompt, start, cue.start())
        examples.append(Example(prompt.query[start : cue.start()], answered))
        start = end - len(rest)
    return examples, prompt.query[start:]


def _asked(prompt: Prompt, start: int, end: int) -> str:
    """What stands before the open cue; with no worked example before it, the text without the instructions."""
    return prompt.query[start:end] if start or not prompt.text else f"{prompt.first('url', 'title')} {prompt.text}"


def _first_answer(after: str) -> tuple[str, str]:
    """The answer that follows a cue, on its line or the next, and what comes after it."""
    stripped = after.lstrip()
    answered, _, rest = stripped.partition("\n")
    return answered.strip(), rest


def _format(judgement: Judgement, labels: Sequence[Label], examples: Sequence[Example], prompt: Prompt) -> str:
    shown = _shown_object(examples)
    keys = list(shown) or _keys_asked_for(prompt.instructions + "\n" + prompt.query)
    if not keys:
        return judgement.label
    names = {label.name.lower() for label in labels}
    known = [key for key in keys if str(shown.get(key, "")).lower() in names]
    label_key = known[0] if known else keys[0]
    return json.dumps(
        {k: judgement.label if k == label_key else _evidence(judgement) for k in keys}, ensure_ascii=False
    )


def _shown_object(examples: Sequence[Example]) -> dict[str, object]:
    """The JSON object that the last example shows as an answer; empty if it shows none."""
    try:
        shown = json.loads(examples[-1].answer) if examples else None
    except ValueError:
        return {}
    return shown if isinstance(shown, dict) else {}


def _keys_asked_for(instructions: str) -> list[str]:
    if not _JSON_WANTED.search(instructions) and '{"' not in instructions:
        return []
    found = [key for match in _QUOTED_KEY.findall(instructions) for key in match if key]
    return list(dict.fromkeys(found)) or ["category"]


def _evidence(judgement: Judgement) -> str:
    if judgement.by_url and judgement.by_text:
        return "Both"
    return "Url" if judgement.by_url else "Text content"
