"""Node: the model's reply as data."""

import json
import re

from promptflow.core import tool

UNREADABLE = {"category": "Unknown", "evidence": "None"}


@tool
def convert(reply: str) -> dict:
    """The JSON object in the reply, whatever stands around it.

    A reply without one is an answer too, and a wrong one: it becomes the category `Unknown`.
    """
    found = re.search(r"\{.*?\}", reply, re.DOTALL)
    try:
        answer = json.loads(found[0]) if found else {}
    except ValueError:
        return UNREADABLE
    return {key: str(answer.get(key) or missing) for key, missing in UNREADABLE.items()}
