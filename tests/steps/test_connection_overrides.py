"""Which nodes of a flow get which connection of the workspace, when prompt flow's service runs it."""

from __future__ import annotations

import textwrap
from pathlib import Path

from orchestration.steps.flow_files import connection_overrides

NAMED = {"aoai": {"connection": "team-aoai", "deployment_name": "gpt-4o"}, "search": {"connection": "team-search"}}
FLOW = """
    nodes:
    - {name: ask, type: llm, connection: aoai, inputs: {deployment_name: gpt-4o-mini, text: search}}
    - {name: find, type: python, inputs: {service: search, text: "${inputs.text}"}}
    - {name: plain, type: python, inputs: {number: 3}}
    - {name: pick, use_variants: true}
    node_variants:
      pick:
        default_variant_id: one
        variants:
          one: {node: {name: pick, type: llm, connection: other, inputs: {}}}
          two: {node: {name: pick, type: llm, connection: aoai, inputs: {}}}
"""


def test_models_and_other_services(tmp_path: Path) -> None:
    (tmp_path / "flow.dag.yaml").write_text(textwrap.dedent(FLOW))
    expected = {"ask": NAMED["aoai"], "find": {"service": "team-search"}}
    assert connection_overrides(tmp_path, NAMED) == expected
    assert connection_overrides(tmp_path, NAMED, "${pick.two}") == expected | {"pick": NAMED["aoai"]}


def test_variants_have_no_names_of_their_own(tmp_path: Path) -> None:
    text = textwrap.dedent(FLOW).replace("{node: {name: pick, ", "{node: {")
    (tmp_path / "flow.dag.yaml").write_text(text)
    assert connection_overrides(tmp_path, NAMED, "${pick.two}")["pick"] == NAMED["aoai"]


def test_a_flow_without_connections(tmp_path: Path) -> None:
    assert connection_overrides(tmp_path, NAMED) == {}
