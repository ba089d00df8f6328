"""Questions about a text: the sentence that shares most words with the question."""

from __future__ import annotations

import re

from orchestration.embedded_model.tasks.prompt import Prompt
from orchestration.embedded_model.tasks.text import content_words, sentences, stem

_TASK = re.compile(r"\b(?:answer|respond to|reply to)\b[^.\n]{0,60}\bquestions?\b", re.IGNORECASE)
_UNKNOWN = "The text does not say."


def reply(prompt: Prompt) -> str | None:
    """The sentence of the text that fits the question best, or None if the prompt asks nothing of a text."""
    asked = prompt.first("question", "query")
    if not asked or not _TASK.search(prompt.instructions) or not prompt.text:
        return None
    return answer(asked, prompt.text)


def answer(asked: str, text: str) -> str:
    """The best sentence of `text`, the first of equals."""
    wanted = {stem(word) for word in content_words(asked)}
    best, shared = _UNKNOWN, 0
    for sentence in sentences(text):
        common = len(wanted & {stem(word) for word in content_words(sentence)})
        if common > shared:
            best, shared = sentence, common
    return best
