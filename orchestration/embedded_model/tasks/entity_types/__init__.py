"""One finder per type of entity: text in, the mentions as they stand in it out, in order and each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from orchestration.embedded_model.tasks.entity_types import jobs, names, patterns, products

Finder: TypeAlias = Callable[[str], Iterable[str]]

# A type is recognised by any of these words in its name; the first match counts.
_FINDERS: tuple[tuple[tuple[str, ...], Finder], ...] = (
    (("job", "title", "occupation", "profession", "position", "role"), jobs.job_titles),
    (("money", "monetary", "price", "amount", "currency", "cost"), patterns.money),
    (("organi", "compan", "institution", "employer", "org", "firm", "agency"), names.organisations),
    (("location", "place", "city", "cities", "countr", "gpe", "geograph", "region"), names.locations),
    (("date",), patterns.dates),
    (("product", "device", "brand", "vehicle", "model"), products.products),
    (("e-mail", "email", "mail"), patterns.emails),
    (("url", "link", "website", "web address"), patterns.urls),
    (("phone", "telephone"), patterns.phones),
    (("percent",), patterns.percentages),
    (("time",), patterns.times),
    (("person", "people", "human", "name"), names.persons),
)


def find(text: str, entity_type: str) -> list[str]:
    """The entities of that type; of an unnamed or unknown type, all persons, organisations and places."""
    wanted = entity_type.lower()
    for words, finder in _FINDERS:
        if any(word in wanted for word in words):
            return _unique(finder(text))
    return _unique([*names.persons(text), *names.organisations(text), *names.locations(text)])


def _unique(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(found))
