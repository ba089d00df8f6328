"""Summaries: the sentences that say most, in their order, up to the length that the prompt asks for."""

from __future__ import annotations

import re
from collections import Counter

from orchestration.embedded_model.tasks.prompt import Prompt
from orchestration.embedded_model.tasks.text import content_words, sentences

_TASK = re.compile(r"\b(?:summari[sz]e|summary of|write a summary|tl;?dr|shorten|condense)\b", re.IGNORECASE)
_WORDS = re.compile(r"\b(\d{1,4})[ -]words?\b", re.IGNORECASE)
_SENTENCES = re.compile(r"\b(one|two|three|four|five|\d)[ -]sentences?\b", re.IGNORECASE)
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_DEFAULT_WORDS = 60
_LEAST_WORDS = 4  # shorter lines are menus and buttons
_LONGEST_TEXT = 20_000  # characters that are looked at
_LEAD = 3  # sentences at the start that count more: texts say first what they are about


def reply(prompt: Prompt) -> str | None:
    """A summary of the prompt's text, or None if the prompt asks for none."""
    if not _TASK.search(prompt.instructions):
        return None
    return summarise(prompt.text, prompt.instructions) or "There is no text to summarise."


def summarise(text: str, instructions: str = "") -> str:
    """The most informative sentences, in the order of the text."""
    found = sentences(text[:_LONGEST_TEXT])
    useful = [s for s in found if len(s.split()) >= _LEAST_WORDS] or found
    chosen = _choose(useful, _words_wanted(instructions), _sentences_wanted(instructions))
    return " ".join(useful[i] for i in sorted(chosen))


def _words_wanted(instructions: str) -> int:
    found = _WORDS.search(instructions)
    return int(found[1]) if found else _DEFAULT_WORDS


def _sentences_wanted(instructions: str) -> int:
    found = _SENTENCES.search(instructions)
    return (_NUMBERS.get(found[1].lower()) or int(found[1])) if found else 100


def _choose(useful: list[str], most_words: int, most_sentences: int) -> list[int]:
    chosen: list[int] = []
    left = most_words
    for i in _by_worth(useful):
        length = len(useful[i].split())
        if len(chosen) == most_sentences or (chosen and length > left):
            continue
        chosen.append(i)
        left -= length
    return chosen


def _by_worth(useful: list[str]) -> list[int]:
    """Indices, best first: sentences of words that the text repeats, and the first ones."""
    words = [content_words(sentence) for sentence in useful]
    counts = Counter(word for found in words for word in set(found))

    def worth(i: int) -> float:
        repeated = sum(counts[word] - 1 for word in set(words[i])) / (len(words[i]) + 5)
        return repeated + (1.5 * (_LEAD - i) if i < _LEAD else 0.0)

    return sorted(range(len(useful)), key=lambda i: (-worth(i), i))
