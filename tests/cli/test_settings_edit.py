"""One entry changes, everything else in the file stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from orchestration.steps.settings_edit import with_connection

ENTRY = {"kind": "azure_openai", "api_key": {"env": "AOAI_API_KEY"}, "model_deployment": "gpt-4o-mini"}


def edited(folder: Path, text: str, name: str = "aoai") -> str:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "dev.yaml").write_text(text)
    return with_connection(folder, "dev", name, ENTRY)


def read(text: str) -> dict:
    return YAML(typ="safe").load(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        "a: 1",
        "connections:\n",
        "connections: {}\n",
        "connections: {aoai: {kind: offline}, b: {kind: offline}}\n",
        "connections:\n  b: {kind: offline}  # b\n",
        "connections:\n    aoai:\n        kind: offline\na: 1\n",
        "rules:\n  - {a: 1}\n  - {b: 2}\nconnections:\n  aoai: {kind: offline}\n",
        "rules:\n- a\n- b\nconnections:\n  aoai: {kind: offline}\n",
        "text: \"quoted\"\nother: 'single'\nversion: 2024-10-21\nconnections: {aoai: {kind: offline}}\n",
    ],
)
def test_it_reads_back_as_what_was_there_with_the_entry(tmp_path, text) -> None:
    before = read(text) or {}
    after = read(edited(tmp_path, text))
    assert after["connections"]["aoai"] == ENTRY
    assert {k: v for k, v in after.items() if k != "connections"} == {
        k: v for k, v in before.items() if k != "connections"
    }
    others = {k: v for k, v in (before.get("connections") or {}).items() if k != "aoai"}
    assert {k: v for k, v in after["connections"].items() if k != "aoai"} == others


def test_lines_that_are_not_concerned_stay_to_the_letter(tmp_path) -> None:
    text = (
        "# top\n\nrollout:\n  steps: [10, 50, 100]   # percent\n  keep: 1\n\ngate:\n  rules:\n  - {metric: a, above: 0.60}\n"
        "# end of ours\nconnections:\n  aoai:\n    kind: offline\n"
    )
    after = edited(tmp_path, text)
    assert after.startswith(text[: text.index("  aoai:")])


@given(st.lists(st.sampled_from(["a: 1", "# note", "b: {c: [1, 2]}", "", "d: 'x'  # y", "e:\n  - 1"]), unique=True))
def test_any_file_without_connections_is_only_added_to(tmp_path_factory, lines) -> None:
    text = "\n".join(lines)
    after = edited(tmp_path_factory.mktemp("edit"), text)
    assert read(after)["connections"] == {"aoai": ENTRY}
    assert not text.strip() or after.startswith(text.rstrip("\n"))
