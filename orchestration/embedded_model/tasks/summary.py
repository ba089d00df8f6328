"""Summaries: the sentences and headings that say most, in their order, up to the length that the prompt asks for."""

# ruff: noqa: RUF001 - punctuation of many scripts is what this file is about

from __future__ import annotations

import re
from collections import Counter, deque

from orchestration.embedded_model.tasks import tables
from orchestration.embedded_model.tasks.prompt import Prompt
from orchestration.embedded_model.tasks.text import content_words, lines, sentences, words_of

_TASK = re.compile(r"\b(?:summari[sz]e|summary of|write a summary|tl;?dr|shorten|condense)\b", re.IGNORECASE)
_WORDS = re.compile(r"\b(\d{1,4})[ -]words?\b", re.IGNORECASE)
_SENTENCES = re.compile(r"\b(one|two|three|four|five|\d)[ -]sentences?\b", re.IGNORECASE)
_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
_DEFAULT_WORDS = 60
_LONGEST_TEXT = 20_000  # characters that are looked at
_LONGEST_BOILERPLATE = 12  # words: a longer sentence that speaks of cookies may be about biscuits
_LEAD = 3  # sentences at the start that count more: texts say first what they are about
_CLOSED = tuple(".!?…:;,。！？|\"'”’")


def reply(prompt: Prompt) -> str | None:
    """A summary of the prompt's text, or None if the prompt asks for none."""
    if not _TASK.search(prompt.instructions):
        return None
    return summarise(prompt.text, prompt.instructions) or "There is no text to summarise."


def summarise(text: str, instructions: str = "") -> str:
    """What says most, in the order of the text: without menus, notices and headings that only repeat others."""
    text = text[:_LONGEST_TEXT]
    told = "\n".join(line for line in lines(text) if not _is_boilerplate(line)) or text
    found = sentences(told)
    useful = _said_once([s for s in found if not _is_boilerplate(s)] or found)
    chosen = sorted(_choose(useful, _words_wanted(instructions), _sentences_wanted(instructions)))
    return " ".join(useful[i] if i == chosen[-1] else _closed(useful[i]) for i in chosen)


def _is_boilerplate(part: str) -> bool:
    """Whether a line or sentence is a menu or one of the notices that every page of the web carries."""
    words = words_of(part)
    if len(words) > _LONGEST_BOILERPLATE:
        return False
    if all(word in tables.words("navigation") for word in words):
        return True
    spaced = f" {' '.join(words)} "
    return any(f" {phrase} " in spaced for phrase in tables.words("boilerplate"))


def _said_once(found: list[str]) -> list[str]:
    """Without what stands in a sentence shortly before: pages repeat their title as a heading."""
    kept: list[str] = []
    recent: deque[str] = deque(maxlen=_LEAD)
    for sentence in dict.fromkeys(found):
        plain = f" {' '.join(words_of(sentence))} "
        if not any(plain in earlier for earlier in recent):
            kept.append(sentence)
            recent.append(plain)
    return kept


def _closed(sentence: str) -> str:
    """With a full stop if it has no end of its own, as headings have none."""
    return sentence if sentence.endswith(_CLOSED) else f"{sentence}."


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
