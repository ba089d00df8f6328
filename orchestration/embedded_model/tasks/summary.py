"""Summaries: the sentences that say most, in their order, up to the length that the prompt asks for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from orchestration.embedded_model.tasks import tables
from orchestration.embedded_model.tasks.prompt import Prompt
from orchestration.embedded_model.tasks.text import content_words, sentences, words_of

_TASK = re.compile(r"\b(?:summari[sz]e|summary of|write a summary|tl;?dr|shorten|condense)\b", re.IGNORECASE)
_WORDS = re.compile(r"\b(\d{1,4})[ -]words?\b", re.IGNORECASE)
_SENTENCES = re.compile(r"\b(one|two|three|four|five|\d)[ -]sentences?\b", re.IGNORECASE)
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_DEFAULT_WORDS = 60
_LONGEST_TEXT = 20_000  # characters that are looked at
_LEAD = 3  # sentences at the start that count more: texts say first what they are about
_CLOSED = tuple(".!?…:;。！？\"'”’)")  # noqa: RUF001 - a sentence that ends so needs no full stop of ours


def reply(prompt: Prompt) -> str | None:
    """A summary of the prompt's text, or None if the prompt asks for none."""
    if not _TASK.search(prompt.instructions):
        return None
    return summarise(prompt.text, prompt.instructions) or "There is no text to summarise."


def summarise(text: str, instructions: str = "") -> str:
    """The most informative sentences and headings, in the order of the text, without menus, notices and repetitions."""
    found = sentences(text[:_LONGEST_TEXT])
    useful = _told_once([s for s in found if not _is_boilerplate(s)]) or found
    chosen = sorted(_choose(useful, _words_wanted(instructions), _sentences_wanted(instructions)))
    return " ".join(_closed(useful[i]) for i in chosen[:-1]) + (" " if chosen[1:] else "") + useful[chosen[-1]] if chosen else ""
