"""The rows of an evaluation as one plain HTML page: no scripts, no outside addresses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment

from orchestration.values import Evaluation, GradedRow, Json, RowError, Status

TEMPLATE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
  body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222 }
  table { border-collapse: collapse; width: 100% }
  th, td { border: 1px solid #ccc; padding: .3rem .5rem; text-align: left; vertical-align: top; max-width: 28rem; overflow-wrap: anywhere }
  th { background: #f2f2f2; position: sticky; top: 0 }
  tr.failed td { background: #fdecea }
  pre { margin: 0; white-space: pre-wrap }
</style>
<h1>{{ title }}</h1>
<p>{{ summary }}</p>
<table>
<tr><th>row<th>inputs<th>output or error<th>grades<th>seconds<th>tokens</tr>
{% for row in rows -%}
<tr class="{{ row.status }}"><td>{{ row.key }}<td><pre>{{ row.inputs }}</pre><td><pre>{{ row.answer }}</pre><td><pre>{{ row.grades }}</pre><td>{{ row.seconds }}<td>{{ row.tokens }}</tr>
{% endfor -%}
</table>
</html>
"""


def write_page(evaluation: Evaluation, title: str, path: Path) -> Path:
    """Write the page; it shows inputs and answers, so only its owner may read it."""
    summary = (
        f"{evaluation.completed} of {evaluation.expected} rows completed, {evaluation.failed} failed, "
        f"{evaluation.cached} taken from the store."
    )
    page = Environment(autoescape=True).from_string(TEMPLATE)
    text = page.render(title=title, summary=summary, rows=[_shown(row) for row in evaluation.rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return path


def _shown(row: GradedRow) -> dict[str, str]:
    result = row.result
    failed = result.status is Status.FAILED
    return {
        "key": row.row.key,
        "status": result.status.value,
        "inputs": _lines(row.row.inputs),
        "answer": _error(result.error) if failed else _lines(result.output or {}),
        "grades": _error(row.grade_error) or _lines(row.grades or {}),
        "seconds": f"{result.seconds:.2f}",
        "tokens": str(result.tokens.total),
    }


def _error(error: RowError | None) -> str:
    return f"{error.code}: {error.message} {error.where}".rstrip() if error else ""


def _lines(values: Mapping[str, Json]) -> str:
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
