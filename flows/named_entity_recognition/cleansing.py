import re

from promptflow.core import tool

_BULLET = re.compile(r"^(?:[-*•]|\d+\))\s+")  # "1." is none: it begins dates such as "1. Januar"
_QUOTES = "\"'`“”„«»"
_NOTHING = {"none", "none.", "n/a"}


@tool
def cleansing(reply: str) -> list:
    """The entities that the model listed, one per line: each once, in its order, without bullets and quotes."""
    entities = (_clean(line) for line in reply.splitlines())
    return list(dict.fromkeys(entity for entity in entities if entity and entity.lower() not in _NOTHING))


def _clean(line: str) -> str:
    bare = _BULLET.sub("", line.strip())
    quoted = len(bare) > 1 and bare[0] in _QUOTES and bare[-1] in _QUOTES
    return bare[1:-1].strip() if quoted else bare
