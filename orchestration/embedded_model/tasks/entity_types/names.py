"""Persons, organisations and places: runs of capitalised words, told apart by word lists and what stands around them."""

# ruff: noqa: RUF001 - punctuation and letters of many scripts are what this file is about

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from orchestration.embedded_model.tasks import tables
from orchestration.embedded_model.tasks.entity_types import caseless

PERSON, ORGANISATION, LOCATION = "person", "organisation", "location"

_WORD = re.compile(r"[^\W_]+(?:[-'’&./][^\W_]+)*")
_POSSESSIVE = re.compile(r"['’]s$")
_ABBREVIATIONS = frozenset({"st", "inc", "ltd", "corp", "co", "jr", "sr", "dr", "mr", "mrs", "ms", "prof", "mt"})
_COMPANY_ENDS = frozenset({"inc", "ltd", "corp", "co", "s.p.a", "s.a", "b.v"})
_LONGEST_PERSON = 4  # words


@dataclass(frozen=True, slots=True)
class Mention:
    """A run of capitalised words, with the word before and after it in lower case."""

    words: tuple[str, ...]
    text: str
    before: str
    after: str
    titled: bool
    starts_sentence: bool

    @property
    def phrase(self) -> str:
        return " ".join(self.words).lower()


def persons(text: str) -> Iterable[str]:
    return _of_kind(text, PERSON)


def organisations(text: str) -> Iterable[str]:
    return _of_kind(text, ORGANISATION)


def locations(text: str) -> Iterable[str]:
    return _of_kind(text, LOCATION)


def _of_kind(text: str, kind: str) -> Iterator[str]:
    yield from (name for found, name in _kinds(text) if found == kind)
    yield from caseless.find(text, kind)


@lru_cache(maxsize=64)
def _kinds(text: str) -> tuple[tuple[str | None, str], ...]:
    return tuple((_kind(mention), mention.text) for mention in _mentions(text))


def _mentions(text: str) -> Iterator[Mention]:
    words = list(_WORD.finditer(text))
    start = 0
    while start < len(words):
        if not _capitalised(words[start][0]):
            start += 1
            continue
        end = _run_end(words, start, text)
        yield from _split(words, start, end, text)
        start = end


def _capitalised(word: str) -> bool:
    return word[0].isupper() or (word[0].islower() and any(c.isupper() for c in word[1:3]) and word.isalpha())


def _run_end(words: list[re.Match[str]], start: int, text: str) -> int:
    """Index after the last word of the run that starts at `start`."""
    end = start + 1
    while end < len(words) and _joined(words, end - 1, text) and not _owner(words[end - 1][0]):
        if _capitalised(words[end][0]):
            end += 1
            continue
        following = _after_particles(words, end, start, text)
        if following is None:
            break
        end = following
    return end


def _owner(word: str) -> bool:
    """`Kenya's` in `Kenya's Faith Wanjiru`; `Mary's` may well be the start of a longer name."""
    return bool(_POSSESSIVE.search(word)) and _POSSESSIVE.sub("", word).lower() in _gazetteer()


def _joined(words: list[re.Match[str]], i: int, text: str) -> bool:
    gap = text[words[i].end() : words[i + 1].start()]
    if gap in (" ", "\u00a0", " & "):
        return True
    abbreviated = len(words[i][0]) == 1 or words[i][0].lower() in _ABBREVIATIONS
    return gap == ". " and abbreviated and words[i][0].lower() not in _COMPANY_ENDS


def _after_particles(words: list[re.Match[str]], i: int, start: int, text: str) -> int | None:
    """Index after the capitalised word that follows one or two particles at `i`, or None."""
    for j in (i, i + 1):
        if j + 1 >= len(words) or not _particle(words, j, start) or not _joined(words, j, text):
            return None
        if _capitalised(words[j + 1][0]):
            return j + 2
    return None


def _particle(words: list[re.Match[str]], i: int, start: int) -> bool:
    word = words[i][0]
    if word in ("of", "for", "the"):
        institutions = tables.words("organisation_words") | {"centre", "center", "gulf", "isle", "bay", "cape"}
        return any(w[0].lower() in institutions for w in words[start:i])
    return word in tables.words("name_particles")


def _split(words: list[re.Match[str]], start: int, end: int, text: str) -> Iterator[Mention]:
    """Cut a run at titles (`Google CEO Anna Berg`) and take words off its start that are no names."""
    titles = tables.words("titles")
    piece = start
    for i in range(start, end):
        if words[i][0].lower() in titles and not _is_known(words, i, end):
            yield from _mention(words, piece, i, text)
            piece = i + 1
    yield from _mention(words, piece, end, text)


def _is_known(words: list[re.Match[str]], i: int, end: int) -> bool:
    """A name of the word lists begins at `i` (`New York …`)."""
    known = _gazetteer()
    return any(" ".join(w[0] for w in words[i:j]).lower() in known for j in range(min(end, i + 4), i + 1, -1))


@lru_cache(maxsize=1)
def _gazetteer() -> frozenset[str]:
    return tables.words("cities") | tables.words("countries") | tables.words("organisations")


def _mention(words: list[re.Match[str]], start: int, end: int, text: str) -> Iterator[Mention]:
    first = start
    while first < end and words[first][0].lower() in tables.words("common_words") and not _is_known(words, first, end):
        first += 1
    if first == end:
        return
    name = text[words[first].start() : _end_of_name(words, end, text)]
    if name.lower() not in _gazetteer():
        name = _POSSESSIVE.sub("", name)
    before = words[first - 1][0].lower() if first else ""
    opening = text[: words[first].start()].rstrip(" \"'“”‘’«»„(¿¡-—–\t")
    yield Mention(
        words=tuple(name.replace(".", "").split()),
        text=name,
        before=before,
        after=words[end][0].lower() if end < len(words) else "",
        titled=before in tables.words("titles"),
        starts_sentence=not opening or opening[-1] in ".!?:\n…",
    )


def _end_of_name(words: list[re.Match[str]], end: int, text: str) -> int:
    """`Inc.` keeps its full stop, unless it ends the sentence."""
    last = words[end - 1]
    rest = text[last.end() : last.end() + 2]
    abbreviated = last[0].lower() in _COMPANY_ENDS and rest[:1] == "." and (rest[1:] or "\n") != "\n"
    return last.end() + abbreviated


def _kind(mention: Mention) -> str | None:
    for judge in (_by_lists, _by_parts, _by_shape):
        kind = judge(mention)
        if kind:
            return kind
    return None


def _by_lists(mention: Mention) -> str | None:
    phrase = mention.phrase
    if mention.titled:
        return PERSON
    if phrase in tables.words("organisations") or mention.text.lower() in tables.words("organisations"):
        return ORGANISATION
    if phrase in tables.words("cities") or phrase in tables.words("countries"):
        first_name = phrase in tables.words("first_names") or phrase in tables.words("surnames")
        return PERSON if first_name and mention.before not in tables.words("place_prepositions") else LOCATION
    return None


def _by_parts(mention: Mention) -> str | None:
    words = [_POSSESSIVE.sub("", word.lower()) for word in mention.words]
    several = len(words) > 1
    if several and any(word in tables.words("organisation_words") for word in words):
        return ORGANISATION
    if several and any(word in tables.words("place_words") for word in (words[0], words[-1])):
        return LOCATION
    if words[0] in tables.words("first_names") and len(words) <= _LONGEST_PERSON:
        return PERSON
    if several and words[-1] in tables.words("surnames") and len(words) <= _LONGEST_PERSON:
        return PERSON
    return None


def _by_shape(mention: Mention) -> str | None:
    first = mention.words[0]
    if mention.phrase in tables.words("months") or mention.phrase in tables.words("currencies"):
        return None
    if any(c.isdigit() for c in mention.text):
        return None
    if len(mention.words) == 1:
        return _single(mention, first)
    if "&" in mention.text or any(word.isupper() and len(word) > 1 for word in mention.words):
        return ORGANISATION
    return PERSON if len(mention.words) <= 3 else None


def _single(mention: Mention, word: str) -> str | None:
    if word.isupper() and 2 <= len(word) <= 6:
        return ORGANISATION
    if mention.after in tables.words("person_verbs") or mention.before in tables.words("person_verbs"):
        return PERSON
    if mention.after in tables.words("organisation_verbs") or any(c.isupper() for c in word[1:]):
        return ORGANISATION
    if mention.before in tables.words("place_prepositions") and not mention.starts_sentence:
        return LOCATION
    if not mention.starts_sentence and word.lower() in tables.words("surnames"):
        return PERSON
    return None
