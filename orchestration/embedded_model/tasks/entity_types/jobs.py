"""Job titles: a noun such as `engineer`, what may stand before it, and `of …` after it."""

# ruff: noqa: RUF001 - punctuation and letters of many scripts are what this file is about

from __future__ import annotations

import re
from collections.abc import Iterable

from orchestration.embedded_model.tasks import tables

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+|(?<!\b[dlDL])['’][^\W\d_]+)*")  # l'ingénieure is two words
_LEADERS = frozenset(
    {"head", "director", "vp", "minister", "secretary", "chief", "president", "professor", "dean", "manager"}
)
_MOST_MODIFIERS = 4


def job_titles(text: str) -> Iterable[str]:
    """The job titles of a text as they stand in it."""
    words = list(_WORD.finditer(text))
    taken_until = 0
    for i, word in enumerate(words):
        if word.start() < taken_until or not _is_head(words, i, text):
            continue
        end = _extend(words, i, text)
        start = _first_modifier(words, i, text, taken_until)
        taken_until = words[end].end()
        yield text[words[start].start() : taken_until]


def _is_head(words: list[re.Match[str]], i: int, text: str) -> bool:
    word = words[i][0].lower()
    if word in _LEADERS and _followed_by_of(words, i, text):
        return True
    return word in tables.words("job_heads") and not _modifies(words, i, text)


def _modifies(words: list[re.Match[str]], i: int, text: str) -> bool:
    """`assistant` in `assistant professor`: the next word is a head too, or leads to one."""
    following = i + 1
    while following < len(words) and following - i <= _MOST_MODIFIERS and _adjacent(words, following - 1, text):
        word = words[following][0].lower()
        if word in tables.words("job_heads"):
            return words[i][0].lower() in tables.words("job_modifiers")
        if word not in tables.words("job_modifiers"):
            return False
        following += 1
    return False


def _first_modifier(words: list[re.Match[str]], i: int, text: str, taken_until: int) -> int:
    start = i
    while start > 0 and i - start < _MOST_MODIFIERS and words[start - 1].start() >= taken_until:
        before = words[start - 1][0].lower()
        if before not in tables.words("job_modifiers") or not _adjacent(words, start - 1, text):
            break
        start -= 1
    return start


def _extend(words: list[re.Match[str]], i: int, text: str) -> int:
    """Index of the last word: `of` takes the field after it (`head of human resources`)."""
    if words[i][0].lower() not in _LEADERS or not _followed_by_of(words, i, text):
        return i
    modifiers = tables.words("job_modifiers")
    end = i + 2
    while end + 1 < len(words) and _adjacent(words, end, text) and words[end + 1][0].lower() in modifiers:
        end += 1
    return end


def _followed_by_of(words: list[re.Match[str]], i: int, text: str) -> bool:
    return (
        i + 2 < len(words)
        and words[i + 1][0] in ("of", "for")
        and _adjacent(words, i, text)
        and words[i + 2][0].lower() not in tables.words("function_words")
    )


def _adjacent(words: list[re.Match[str]], i: int, text: str) -> bool:
    return text[words[i].end() : words[i + 1].start()] == " "
