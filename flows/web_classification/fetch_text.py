"""Node: the readable text of the page."""

from promptflow.core import tool
from web_page import fetch, text_of


@tool
def fetch_text(url: str, snapshot: str = "") -> str:
    """Text of the snapshot, or of the page at `url` if there is none. Raises `PageError` if it can't be fetched."""
    return text_of(snapshot or fetch(url))
