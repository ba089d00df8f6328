"""Names in scripts without capitals: known names, endings such as 公司, and forms of address such as さん."""

# ruff: noqa: RUF001 - punctuation and letters of many scripts are what this file is about

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from orchestration.embedded_model.tasks import tables

_HAN = "一-鿿"
_KANA = "ァ-ヴー"
_HANGUL = "가-힣"
_SPACED = "\u0590-\u05ff\u0600-\u06ff\u0900-\u097f"  # Hebrew, Arabic, Devanagari: words stand apart
_OTHER = re.compile(rf"[{_HAN}{_KANA}{_HANGUL}{_SPACED}\u0e00-\u0e7f]")
_SPACED_WORD = re.compile(rf"[{_SPACED}]+")

_ORGANISATION_ENDS = (
    "有限公司|公司|集团|大学|大學|学院|银行|銀行|医院|病院|研究所|研究院|委员会|株式会社|新聞|中学|小学"
)
_ORGANISATION = re.compile(
    rf"(?:(?<=[，。、的在与和于从はがのでと「（\s])|^)(?:株式会社[{_HAN}{_KANA}]{{2,6}}|[{_HAN}{_KANA}]{{2,8}}?(?:{_ORGANISATION_ENDS}))"
    rf"|[{_HANGUL}]{{2,6}}(?:대학교|은행|전자|병원|그룹|회사)"
)
_CHINESE_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘蔡蒋余杜叶程苏魏吕丁沈"
_CHINESE_PERSON = re.compile(
    rf"(?:(?<=[，。、：和与跟由\s“])|^)([{_CHINESE_SURNAMES}][{_HAN}]{{1,2}}?)(?=说|表示|先生|女士|教授|博士|医生|老师|是|在|于|和|与|、|出生|担任|告诉|认为|获)"
)
_JAPANESE_PERSON = re.compile(rf"([{_HAN}]{{2}}[ 　]?[{_HAN}]{{1,3}})(?=さん|氏|先生|社長|教授|選手|監督|博士|首相)")
_KOREAN_PERSON = re.compile(
    rf"(?<![{_HANGUL}])([김이박최정강조윤장임한오서신권황안송류홍][{_HANGUL}]{{2}})(?=\s?(?:씨|교수|대표|사장|감독|선수|박사|의원|은 |는 |이 |가 |와 |과 ))"
)


def find(text: str, kind: str) -> Iterator[str]:
    """The mentions of a kind (`person`, `organisation`, `location`) in such scripts."""
    if not _OTHER.search(text):
        return
    if kind == "person":
        for pattern in (_CHINESE_PERSON, _JAPANESE_PERSON, _KOREAN_PERSON):
            yield from pattern.findall(text)
        yield from _after_first_name(text)
    elif kind == "organisation":
        yield from (m[0] for m in _ORGANISATION.finditer(text))
        yield from _known("organisations").findall(text)
    else:
        yield from _known("cities", "countries").findall(text)


def _after_first_name(text: str) -> Iterator[str]:
    """A known given name, with the word after it as the family name."""
    words = list(_SPACED_WORD.finditer(text))
    end = 0
    for i, word in enumerate(words):
        if word.start() < end or word[0] not in tables.words("first_names"):
            continue
        with_surname = i + 1 < len(words) and text[word.end() : words[i + 1].start()] == " "
        end = words[i + 1].end() if with_surname else word.end()
        yield text[word.start() : end]


@cache
def _known(*names: str) -> re.Pattern[str]:
    found = [word for name in names for word in tables.words(name) if _OTHER.search(word)]
    entries = "|".join(re.escape(word) for word in sorted(found, key=lambda w: (-len(w), w)))
    return re.compile(rf"(?<![{_SPACED}])(?:{entries})(?![\u0590-\u06ff\u0900-\u097f])")
