"""Node: one classification against the truth."""

from promptflow.core import tool


@tool
def grade(groundtruth: str, prediction: str) -> str:
    """`Correct` if both are the same word, whatever its case and the space around it."""
    return "Correct" if groundtruth.strip().casefold() == prediction.strip().casefold() else "Incorrect"
