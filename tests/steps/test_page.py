from __future__ import annotations

from orchestration.steps.page import write_page
from orchestration.values import Evaluation, GradedRow, Row, RowError, RowResult, Status


def test_the_page_shows_errors_of_both_flows_and_runs_nothing(tmp_path) -> None:
    row = Row("r<1>", 1, {"text": "<script>alert(1)</script>"}, {})
    raised = RowResult("r<1>", Status.FAILED, error=RowError("Raised", "no <b>answer</b>", "node.py:3"))
    done = RowResult("r<1>", Status.COMPLETED, {"answer": "x"})
    ungraded = GradedRow(row, done, None, RowError("Raised", "no grade", "grade.py:7"))
    path = write_page(
        Evaluation("e", 2, (GradedRow(row, raised), ungraded)), "a <title>", tmp_path / "pages" / "x.html"
    )
    text = path.read_text()
    assert "<script>" not in text
    assert "<b>" not in text
    assert "Raised: no &lt;b&gt;answer&lt;/b&gt; node.py:3" in text
    assert "Raised: no grade grade.py:7" in text
    assert path.stat().st_mode & 0o077 == 0
