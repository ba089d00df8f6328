"""docs/architecture.md describes the tree as it is."""

from __future__ import annotations

import re
import tomllib

from doc_pages import ROOT, page

from orchestration.prefect_flows import services
from orchestration.values import Outcome

PAGE = page("docs/architecture.md")


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    checked = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    shown = next(block.text.strip().splitlines() for block in PAGE.blocks if block.text.startswith("orchestration."))
    assert shown == checked


def test_every_part_of_the_orchestrator_is_described() -> None:
    names = {path.name for path in (ROOT / "orchestration").iterdir()} - {"__init__.py", "__pycache__"}
    for name in names:
        assert re.search(rf"`orchestration/{re.escape(name)}/?`", PAGE.text), name


def test_final_states_are_those_of_the_parent_flow() -> None:
    source = (ROOT / "orchestration" / "prefect_flows" / "final_state.py").read_text()
    states = set(re.findall(r'Outcome\.\w+, "(\w+)"', source)) | set(re.findall(r'name="(\w+)"', source))
    assert len(states) == len(Outcome) + 1
    section = PAGE.section("## The life of a release")
    for state in states:
        assert f"`{state}`" in section, state


def test_services_are_those_that_up_starts() -> None:
    assert (services.WORKER, services.MLFLOW) == ("prefect-worker", "mlflow-ui")
    for name in ("Prefect server", "Prefect worker", "MLflow UI", "gateway"):
        assert f"| {name}" in PAGE.section("## Processes"), name
