"""Named entity extraction: the type and the text from the prompt, the form of the answer from its instructions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from orchestration.embedded_model.tasks.entity_types import find
from orchestration.embedded_model.tasks.prompt import Prompt

_VERB = r"(?:extract|find|identify|list|detect|recogni[sz]e|spot|pick out|pull out|name)"
_TASK = re.compile(rf"\b{_VERB}\b[^.\n]{{0,80}}\b(?:entit(?:y|ies)|mentions?|names?|spans?)\b", re.IGNORECASE)
_TYPE_IN_SENTENCE = re.compile(
    rf"\b(?:of (?:the )?type|type is)\s+[\"'“]?(\w+(?: \w+)?)|\b{_VERB} (?:all|every|each|the|any)(?: the)? (\w+(?: \w+)?) "
    r"(?:names?|entit(?:y|ies)|mentions?)\b",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"\b(?:if|when)\b[^.\n]*\b(?:no|none|not|nothing|any)\b[^.\n]*?"
    r"\b(?:write|return|answer|say|reply|respond|output|print|give)\b(?: with| just| only| exactly| the(?: single)? word)*\s+"
    r"[\"'“`]?(\w+)",
    re.IGNORECASE,
)
_FORMS: tuple[tuple[re.Pattern[str], Callable[[list[str]], str]], ...] = (
    (re.compile(r"\bjson\b", re.IGNORECASE), lambda found: json.dumps(found, ensure_ascii=False)),
    (re.compile(r"\b(?:one|each|every)\b[^.\n]{0,40}\b(?:per|own|separate|new|a) line\b", re.IGNORECASE), "\n".join),
    (re.compile(r"\bsemicolons?\b", re.IGNORECASE), "; ".join),
    (re.compile(r"\bcommas?\b", re.IGNORECASE), ", ".join),
)


def reply(prompt: Prompt) -> str | None:
    """The entities in the form that the prompt asks for, or None if it asks for none.

    A prompt that leaves the form open gets what chat models are apt to say: a sentence and a list with bullets.
    """
    if not _TASK.search(prompt.instructions):
        return None
    if not prompt.text:
        return "There is no text to look at."
    found = find(prompt.text, _type(prompt))
    return _format(found, prompt.instructions) if found else _none(prompt.instructions)


def _type(prompt: Prompt) -> str:
    given = prompt.first("entity type", "entity types", "type", "type of entity", "types of entities")
    if given:
        return given
    found = _TYPE_IN_SENTENCE.search(f"{prompt.instructions}\n{prompt.query}")
    return (found[1] or found[2]) if found else ""


def _format(found: list[str], instructions: str) -> str:
    for pattern, form in _FORMS:
        if pattern.search(instructions):
            return form(found)
    return "I found these entities in the text:\n" + "\n".join(f"- **{entity}**" for entity in found)


def _none(instructions: str) -> str:
    word = _NOTHING.search(instructions)
    return word[1] if word else "I found no such entities in the text."
