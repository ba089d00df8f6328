"""What a prompt is made of: instructions, labelled fields (`Text: …`), and earlier turns as examples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from orchestration.embedded_model.chat import Message

_TEXT = "text content|text|content|document|article|passage|input|sentence|message|review|page|context"
_PARAMETERS = "entity types?|types? of entit(?:y|ies)|type|labels|categories|classes|question|query|url|title|language"
_CUES = "entities|entity list|summary|output|answer|category|label|class|result|response"
_DECORATION = r"[ \t>*#-]*"

_TEXT_FIELD = re.compile(rf"^{_DECORATION}(?:the )?({_TEXT})\b[^:\n]{{0,20}}:[ \t*]*", re.IGNORECASE | re.MULTILINE)
_PARAMETER_FIELD = re.compile(
    rf"^{_DECORATION}(?:the )?({_PARAMETERS})[ \t*]*:[ \t*]*(.*)$", re.IGNORECASE | re.MULTILINE
)
_FINAL_CUE = re.compile(rf"\n?^{_DECORATION}(?:{_CUES})[ \t*]*:[ \t*]*\s*\Z", re.IGNORECASE | re.MULTILINE)
_FENCES = re.compile(r'^\s*(?:"{3}|`{3}\w*|<\w+>)\s*(.*?)\s*(?:"{3}|`{3}|</\w+>)\s*$', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation, taken apart.

    `instructions`: system messages and what the last user message says outside of its fields. `text`: what the task
    is about. `fields`: the short parameters of the last user message, by label in lower case. `query`: the last user
    message as it stands. `turns`: earlier user and assistant pairs.
    """

    instructions: str
    text: str
    query: str
    fields: Mapping[str, str] = field(default_factory=dict)
    turns: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Prompt:
        system = "\n".join(m.content for m in messages if m.role in ("system", "developer"))
        query = next((m.content for m in reversed(messages) if m.role == "user"), "")
        preamble, text, fields = _take_apart(query, has_system=bool(system.strip()))
        return cls(f"{system}\n{preamble}".strip(), text, query, fields, _turns(messages))

    def first(self, *labels: str) -> str:
        """The first of these fields that was given; the empty string if none was."""
        return next((self.fields[label] for label in labels if self.fields.get(label)), "")


def _turns(messages: Sequence[Message]) -> tuple[tuple[str, str], ...]:
    spoken = [m for m in messages if m.role in ("user", "assistant")]
    pairs = pairwise(spoken)
    return tuple((a.content, b.content) for a, b in pairs if a.role == "user" and b.role == "assistant")


def _take_apart(query: str, *, has_system: bool) -> tuple[str, str, dict[str, str]]:
    """Instructions, text and fields of a user message."""
    fields = {m[1].lower(): m[2].strip() for m in _PARAMETER_FIELD.finditer(query)}
    start = _TEXT_FIELD.search(query)
    if start:
        before, text = query[: start.start()], query[start.end() :]
        return _PARAMETER_FIELD.sub("", before).strip(), _bare(_until_parameter(text)), fields
    if has_system:
        return "", _bare(_PARAMETER_FIELD.sub("", query)), fields
    before, text = _split_instruction(query)
    return before, _bare(text), fields


def _until_parameter(text: str) -> str:
    """Up to the answer's cue at the very end, or a parameter that follows the text there."""
    text = _FINAL_CUE.sub("", text)
    last = list(_PARAMETER_FIELD.finditer(text))[-1:]
    if last and not text[last[0].end() :].strip() and "\n" in text.strip():
        return text[: last[0].start()]
    return text


def _split_instruction(query: str) -> tuple[str, str]:
    """Without a system message: the first paragraph instructs, or the words before the first colon."""
    for separator in ("\n\n", "\n", ":"):
        before, found, after = query.partition(separator)
        if found and after.strip():
            return before + found, after
    return query, ""


def _bare(text: str) -> str:
    """Without the answer's cue, and without quotes, fences or tags around the whole."""
    text = _FINAL_CUE.sub("", text)
    fenced = _FENCES.match(text)
    return (fenced[1] if fenced else text).strip()
