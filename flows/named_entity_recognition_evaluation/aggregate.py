from promptflow.core import log_metric, tool


@tool
def aggregate(grades: list) -> dict:
    """Log accuracy (share of exact matches), precision and recall (over all entities), rounded to 4 decimals."""
    metrics = {
        "accuracy": _ratio(_total(grades, "exact_match"), len(grades)),
        "precision": _ratio(_total(grades, "matched"), _total(grades, "found")),
        "recall": _ratio(_total(grades, "matched"), _total(grades, "wanted")),
    }
    for name, value in metrics.items():
        log_metric(name, value)
    return metrics


def _total(grades: list, column: str) -> float:
    return sum(row[column] for row in grades)


def _ratio(part: float, whole: float) -> float:
    """A ratio over nothing is logged as 0."""
    return round(part / whole, 4) if whole else 0.0
