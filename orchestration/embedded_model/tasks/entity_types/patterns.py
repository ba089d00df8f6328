"""Types that have a form of their own: dates, money, addresses of the net, times."""

# ruff: noqa: RUF001 - punctuation and letters of many scripts are what this file is about

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from orchestration.embedded_model.tasks import tables

_DAY = r"\d{1,2}(?:st|nd|rd|th|er|\.|º|ª)?"
_YEAR = r"(?:1[0-9]|20)\d\d"
_YEAR_WORDS = (
    "in|since|by|until|till|from|of|year|between|and|before|after|around|to|early|late|mid|im Jahr|Jahr|seit|en|depuis|"
    "em|desde|nel|dal|w|od|в|с|до|από|το|sedan|anno|année|año|ano"
)
# Bounded repetitions: a text made of one character must not cost more than its length.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,6}\b")
_LINK = re.compile(r"\b(?:https?://|www\.)[^\s<>\"'()]+[^\s<>\"'().,;:!?]")
_PHONE = re.compile(r"(?<!\w)(?:\+\d{1,3}[ .-]?)?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]\d{2,4}){1,4}(?!\w)")
_PERCENTAGE = re.compile(r"(?<![\d.,])\d{1,9}(?:[.,]\d{1,9})?\s?(?:%|percent\b|per cent\b|Prozent\b)")
_HALF = r"(?:[ap]\.m\.|[ap]m\b)"
_TIME = re.compile(
    rf"\b(?:[01]?\d|2[0-3])[:h.][0-5]\d\b(?:\s?{_HALF})?|\b\d{{1,2}}\s?{_HALF}|\b(?:noon|midnight)\b", re.IGNORECASE
)


def emails(text: str) -> Iterable[str]:
    return _EMAIL.findall(text)


def urls(text: str) -> Iterable[str]:
    return _LINK.findall(text)


def phones(text: str) -> Iterable[str]:
    return (m[0] for m in _PHONE.finditer(text) if sum(c.isdigit() for c in m[0]) >= 7)


def percentages(text: str) -> Iterable[str]:
    return _PERCENTAGE.findall(text)


def times(text: str) -> Iterable[str]:
    return _TIME.findall(text)


def dates(text: str) -> Iterable[str]:
    """Dates with a month or in figures, and years that a word announces."""
    found = {m.start(): m[0] for m in _date_pattern().finditer(text)}
    taken = [range(start, start + len(date)) for start, date in found.items()]
    for year in _year_pattern().finditer(text):
        if not any(year.start(1) in span for span in taken):
            found[year.start(1)] = year[1]
    return (found[start].strip() for start in sorted(found))


def money(text: str) -> Iterable[str]:
    """Amounts with a currency before or after them."""
    return (m[0].strip() for m in _money_pattern().finditer(text))


@cache
def _date_pattern() -> re.Pattern[str]:
    month = rf"(?:{_any_of('months')})\b\.?"
    return re.compile(
        rf"\b{_DAY}\s(?:(?:de|of|d['’])\s?)?{month}(?:,?\s(?:(?:de|del)\s)?{_YEAR}\b)?"
        rf"|\b{month}\s\d{{1,2}}(?:st|nd|rd|th)?\b(?:,?\s{_YEAR}\b)?"
        rf"|\b{month}\s(?:(?:de|of|del)\s)?{_YEAR}\b"
        rf"|\b{_YEAR}-\d\d-\d\d\b|\b\d{{1,2}}([./-])\d{{1,2}}\1(?:\d{{4}}|\d\d)\b"
        rf"|{_YEAR}\s?年(?:\d{{1,2}}月(?:\d{{1,2}}日)?)?|\d{{1,2}}月\d{{1,2}}日"
        rf"|{_YEAR}년(?:\s?\d{{1,2}}월(?:\s?\d{{1,2}}일)?)?|\d{{1,2}}월\s?\d{{1,2}}일"
        rf"|\b(?:spring|summer|autumn|fall|winter|Q[1-4])(?: of)? {_YEAR}\b",
        re.IGNORECASE,
    )


@cache
def _year_pattern() -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_YEAR_WORDS})\s({_YEAR})\b(?![\s-]?(?:\w*meter|km|kg|people|%|[.,]\d))", re.IGNORECASE)


@cache
def _money_pattern() -> re.Pattern[str]:
    figure = r"\d{1,3}(?:[.,'’\u00a0\u202f ]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d{1,15}(?:[.,]\d{1,9})?"
    words = r"(?:a|one|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|forty|fifty|half a)(?= (?:hundred|\w+ion|thousand))"
    size = (
        r"(?:[\s\u00a0-]?(?:hundred|thousand|million|billion|trillion|bn|mn|m|k|Mio\.?|Mrd\.?|Millionen|Milliarden|millions?|"
        r"milliards?|millones|mil|milhões|bilhões|milioni|miliardi|mln|mld|млн|млрд|тыс\.?|εκατ\.?|crore|lakh|مليون|مليار|"
        r"करोड़|लाख|tys\.?|milion(?:y|ów)?|miliard(?:y|ów)?)(?!\w)|[万亿億만억千])?"
    )
    sign = r"(?:US|A|C|NZ|HK|S|R)?\$|[€£¥₹₽₩₺₦₪฿₴₱₫]|\b(?:CHF|Rs\.?|EUR|USD|GBP|Kč)"
    after = rf"(?:\s?(?:de |d['’])?(?:[€£¥₹₽₩₺₦₪฿₴₱₫$]|(?:{_any_of('currencies')}|kr|zł|Kč|Ft|TL)(?!\w)))"
    return re.compile(rf"(?:{sign})\s?(?:{figure}){size}|(?:\b(?:{figure})|\b{words}){size}{after}", re.IGNORECASE)


def _any_of(table: str) -> str:
    return "|".join(re.escape(word) for word in sorted(tables.words(table), key=lambda w: (-len(w), w)))
