"""Sentences and words of any text."""

# ruff: noqa: RUF001 - punctuation and letters of many scripts are what this file is about

from __future__ import annotations

import re

from orchestration.embedded_model.tasks import tables

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)]*\s+(?=[^\sa-z])|(?<=[。！？])|\n+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_ENDING = re.compile(r"(?:ing|ed|es|s)$")
_LEAST_STEM = 4  # letters: shorter words are left as they are


def lines(text: str) -> list[str]:
    """Lines without surrounding space, and without the empty ones."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def sentences(text: str) -> list[str]:
    """Sentences without surrounding space; line ends separate too."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def words_of(text: str) -> list[str]:
    """All words in lower case."""
    return _WORD.findall(text.lower())


def content_words(text: str) -> list[str]:
    """Words that carry meaning: no function words, no single letters."""
    stop = tables.words("function_words")
    return [word for word in words_of(text) if len(word) > 1 and word not in stop]


def stem(word: str) -> str:
    """Near enough: English endings off, so that `install`, `installs` and `installed` are one."""
    if len(word) > _LEAST_STEM and word.endswith(("ies", "ied")):
        return f"{word[:-3]}y"
    return _ENDING.sub("", word) if len(word) > _LEAST_STEM else word
