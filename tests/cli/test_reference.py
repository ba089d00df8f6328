"""docs/configuration.md is what the schemas say."""

from __future__ import annotations

from pathlib import Path

from orchestration.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_what_the_schemas_say() -> None:
    assert PAGE.read_text() == reference(), "run: python -m orchestration.cli.reference"


def test_every_key_is_described() -> None:
    rows = [line.split(" | ") for line in reference().splitlines() if line.startswith("| `") and line.count(" | ") == 3]
    assert len(rows) > 50
    assert [row[0] for row in rows if not row[3].strip(" |")] == []
