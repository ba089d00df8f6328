"""Reading the list of labels out of a prompt: a sentence (`one of: A, B or C`), a field, or a list with bullets."""

# ruff: noqa: RUF001 - punctuation and letters of many scripts are what this file is about

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from orchestration.embedded_model.tasks.text import content_words

_NOUNS = r"(?:types?|categor(?:y|ies)|labels?|class(?:es)?|options?|topics?|values?|kinds?|sentiments?|intents?)"
_INTRODUCTION = re.compile(
    rf"\b(?:(?:one|exactly one|any) of(?: the)?(?: \w+){{0,3}}?(?: {_NOUNS})?|(?:possible |allowed |following )?{_NOUNS}"
    rf"(?: are| is one of)?)\s*:\s*"
    rf"|\b(?:into|as|with|from)(?: exactly)?(?: one of)?(?: the| these)?(?: \w+)? {_NOUNS}(?: of)?\s+(?=[\"'“A-Z])"
    rf"|\b(?:classify|categori[sz]e|label)\b[^.\n:]{{0,60}}\b(?:as|into)\s+(?:either\s+)?",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[ \t]*(?:[-*•]|\d+[.)])[ \t]+(.+)$", re.MULTILINE)
_SEPARATOR = re.compile(r"\s*(?:,|;|/|\||\n)\s*(?:(?:or|and)\s+)?|\s+(?:or|and)\s+", re.IGNORECASE)
_TAIL = re.compile(
    r"\s+(?:based|according|depending|using|given|by|from|that|which|for|in|and return|and give)\b.*$",
    re.IGNORECASE | re.DOTALL,
)
_DESCRIBED = re.compile(r"^[\"'“`*]*([^:(–—\n]+?)[\"'”`*]*\s*(?::|\(|–|—| - )\s*(.*)$", re.DOTALL)
_LONGEST_LABEL = 4  # words
_LONGEST_LIST = 4000  # characters
_MOST_INTRODUCTIONS = 20  # what looks like the start of a list
_MARKS = " \t\"'“”`*.[]{}"


@dataclass(frozen=True, slots=True)
class Label:
    """A label as the prompt writes it, and the words with which the prompt describes it."""

    name: str
    description: tuple[str, ...] = ()


def labels_of(prompt: str) -> list[Label]:
    """The labels that a prompt names, in its order; fewer than two if it names none."""
    for introduction in islice(_INTRODUCTION.finditer(prompt), _MOST_INTRODUCTIONS):
        rest = prompt[introduction.end() : introduction.end() + _LONGEST_LIST]
        found = _bullets(rest) or _in_a_sentence(rest)
        if len(found) >= 2:
            return found
    return []


def _bullets(rest: str) -> list[Label]:
    """A list with bullets that starts right here; it ends at the first line that is no bullet."""
    lines: list[str] = []
    for line in rest.lstrip("\n").splitlines():
        bullet = _BULLET.match(line)
        if bullet is None:
            break
        lines.append(bullet[1])
    return _unique([_described(line) for line in lines])


def _described(line: str) -> Label:
    found = _DESCRIBED.match(line)
    if found is None:
        return Label(line.strip(_MARKS))
    return Label(found[1].strip(_MARKS), tuple(dict.fromkeys(content_words(found[2]))))


def _in_a_sentence(rest: str) -> list[Label]:
    """`A, B, C or D` up to the end of the sentence, or of the line where no full stop ends the list."""
    sentence = re.split(r"\.\s|\.$|\n\n|[?!]|\n(?=[^\n]*:)", rest.strip(), maxsplit=1)[0]
    return _names(sentence) or _names(sentence.partition("\n")[0])


def _names(text: str) -> list[Label]:
    """The labels between commas and the like; none if one of them is too long for a label."""
    names = [name for part in _SEPARATOR.split(_TAIL.sub("", text)) if (name := part.strip(_MARKS))]
    return [] if any(len(name.split()) > _LONGEST_LABEL for name in names) else _unique([Label(n) for n in names])


def _unique(labels: list[Label]) -> list[Label]:
    return list({label.name.lower(): label for label in labels if label.name}.values())
