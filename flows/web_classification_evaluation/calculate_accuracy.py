"""Node over all rows: the share of correct classifications."""

from promptflow.core import log_metric, tool


@tool
def calculate_accuracy(grades: list) -> float:
    """Logs and returns the accuracy over the graded rows, rounded to two decimals."""
    accuracy = round(sum(grade == "Correct" for grade in grades) / len(grades), 2)
    log_metric("accuracy", accuracy)
    return accuracy
