"""Packages that promptflow gets only when it needs them, and what is left out for nobody."""

from __future__ import annotations

import subprocess
import sys

from runner_fixture import RUNTIME

HEAD = """
import sys
from sluice_runner.adapters.promptflow import light
light.LATER = ("sqlite3",)
with light.later():
"""


def run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code],
        env={"PYTHONPATH": str(RUNTIME)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_it_is_imported_when_it_is_used_and_nobody_else_sees_the_stand_in():
    code = """
    import sqlite3 as theirs
print("_sqlite3" in sys.modules, "sqlite3" in sys.modules, theirs.Row.__name__, "_sqlite3" in sys.modules)
import sqlite3
print(type(sqlite3).__name__, theirs.connect is sqlite3.connect)
"""
    assert run(code) == ["False", "False", "Row", "True", "module", "True"]


def test_a_part_of_it_can_be_imported_meanwhile():
    code = """
    import sqlite3.dump
    print(type(sys.modules["sqlite3"]).__name__, sqlite3.dump.__name__)
"""
    assert run(code) == ["module", "sqlite3.dump"]


def test_what_is_imported_already_stays():
    code = """
    pass
import sqlite3
with light.later():
    print(sys.modules["sqlite3"] is sqlite3)
"""
    assert run(code) == ["True"]
