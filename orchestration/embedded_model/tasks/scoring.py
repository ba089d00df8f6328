"""How much of a text speaks for each label: words and shapes, those of few labels above those of many."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from orchestration.embedded_model.tasks import tables
from orchestration.embedded_model.tasks.label_list import Label
from orchestration.embedded_model.tasks.shapes import shapes_in
from orchestration.embedded_model.tasks.text import content_words, stem, words_of

_WORD, _PHRASE = 1.0, 1.5  # a phrase, a shape or the label's own name is less often there by chance than a word
_DESCRIBED = 0.7  # a word of the prompt's own description of a label
_DESCRIBED_TOO = 0.4  # the same where a word list knows the label already
NEITHER = frozenset({"none", "other", "others", "unknown", "neither", "none of these", "misc", "general"})


@dataclass(frozen=True, slots=True)
class Bag:
    """A text as counts of its stems and shapes; `spaced` has its words for phrases, `lower` the rest for addresses."""

    lower: str
    spaced: str
    counts: Mapping[str, int]

    @classmethod
    def of(cls, text: str) -> Bag:
        lower = text.lower()
        counts = Counter(stem(word) for word in content_words(lower)) | Counter(shapes_in(lower))
        return cls(lower, f" {' '.join(words_of(lower))} ", counts)

    def count(self, term: str) -> int:
        if term.isalnum() or term.startswith("<"):
            return self.counts.get(term, 0)
        return self.spaced.count(f" {term} ") if term.replace(" ", "").isalnum() else self.lower.count(term)


def scores(labels: tuple[Label, ...], bag: Bag) -> list[float]:
    """The evidence for each label, each term's count damped: ten times the same word is not ten reasons."""
    if not bag.counts:
        return [0.0] * len(labels)
    return [
        sum(weight * math.log2(1 + bag.count(term)) for term, weight in terms.items())
        for terms in _weighted_terms(labels)
    ]


@lru_cache(maxsize=64)
def _weighted_terms(labels: tuple[Label, ...]) -> tuple[Mapping[str, float], ...]:
    """For each label its terms; a term that several of the labels share tells less between them."""
    found = [_terms(label) for label in labels]
    shared = Counter(term for terms in found for term in terms)
    return tuple({term: weight / math.sqrt(shared[term]) for term, weight in terms.items()} for terms in found)


def _terms(label: Label) -> dict[str, float]:
    """A term counts once, by whichever of name, word list and description weighs it most."""
    name = label.name.lower()
    if name in NEITHER:
        return {}
    known = _keywords(name)
    described = dict.fromkeys(map(stem, label.description), _DESCRIBED_TOO if known else _DESCRIBED)
    listed = {_term(word): _WORD if word.isalnum() else _PHRASE for word in known}
    return described | listed | {_term(name): _PHRASE}


def _term(word: str) -> str:
    return stem(word) if word.isalnum() else word


def _keywords(label: str) -> tuple[str, ...]:
    parts = {label, *re.split(r"[\s/&_-]+", label)}
    table = tables.keywords("labels")
    return tuple(word for names, found in table.items() if parts & set(names) for word in found)
