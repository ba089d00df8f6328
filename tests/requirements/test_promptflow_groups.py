"""The dependency groups of pyproject.toml, and the sources and results of the locks that are made for them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["promptflow", "promptflow-azure"])
def test_a_group_and_its_lock_have_the_same_sources(name: str) -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"][name]
    lines = (ROOT / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
    assert sorted(group) == sorted(line for line in lines if line and not line.startswith("#"))
    for source in group:
        package, _, version = source.partition("==")
        assert pins(name)[package.partition("[")[0]] == version


def test_the_client_of_the_cloud_service_moves_no_version_of_the_runtime() -> None:
    plain, cloud = pins("promptflow"), pins("promptflow-azure")
    assert {name: cloud.get(name) for name in plain} == plain


def test_no_lock_names_an_index() -> None:
    text = (ROOT / "requirements" / "promptflow-azure.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--hash=sha256:" in text
