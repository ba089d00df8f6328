import unicodedata

from promptflow.core import tool

_EDGES = " \t\n.,;:!?\"'`“”„«»()[]"


@tool
def grade(entities: list, truth: list) -> dict:
    """Compare an answer with the truth as sets; case, surrounding punctuation and spacing don't count.

    `exact_match` is 1.0 if the sets are equal, also if both are empty. `matched`, `found` and `wanted` are numbers of
    entities: precision is matched over found, recall is matched over wanted, each summed over the rows.
    """
    found = {_normal(entity) for entity in entities}
    wanted = {_normal(entity) for entity in truth}
    return {
        "exact_match": float(found == wanted),
        "matched": len(found & wanted),
        "found": len(found),
        "wanted": len(wanted),
    }


def _normal(entity: str) -> str:
    composed = unicodedata.normalize("NFKC", str(entity))
    return " ".join(composed.split()).strip(_EDGES).casefold()
