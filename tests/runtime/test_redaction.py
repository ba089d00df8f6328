"""Secrets are taken out of what a container prints and answers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_fixture import RUNTIME

sys.path.insert(0, str(RUNTIME))
from sluice_runner.redaction import LONGEST_LINE, Redactor

PRINTING = """
import os, subprocess, sys
from sluice_runner.redaction import Redactor, guard_output
finish = guard_output(Redactor(["s3cret-value"]))
print("one s3cret-value")
os.write(2, b"two s3cret"); os.write(2, b"-value\\n")
subprocess.run([sys.executable, "-c", "print('three s3cret-value')"])
print("x" * %d + "s3cret-value")
print("no end s3cret-value", end="")
finish()
print("\\nafter")
"""


@given(secret=st.text(min_size=6, max_size=20), before=st.text(max_size=10))
def test_no_answer_holds_a_secret(secret: str, before: str) -> None:
    body = {"text": before + secret, "deep": [{secret: None}], "python": repr(secret)}
    cleaned = Redactor([secret]).clean_json(json.dumps(body).encode())
    found = json.loads(cleaned)
    assert found["deep"] == [{"[redacted]": None}]
    assert secret not in found["text"] or secret in "[redacted]"


def test_numbers_are_hidden_and_what_holds_no_secret_is_left_alone() -> None:
    redactor = Redactor(["123456", "short"])
    assert json.loads(redactor.clean_json(b'{"a": 123456, "b": 1234567}')) == {"a": "[redacted]", "b": 1234567}
    body = b'{ "a":  1 , "b": "shor" }'
    assert redactor.clean_json(body) is body


def test_values_too_short_to_tell_apart_are_no_secrets() -> None:
    assert not Redactor(["", "1", "12345"])
    assert Redactor(["123456"])


@pytest.mark.parametrize("padding", [0, LONGEST_LINE * 3])
def test_all_that_a_process_prints_passes(padding: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTING % padding], env={"PYTHONPATH": str(RUNTIME)}, capture_output=True, timeout=30
    )
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert "s3cret" not in done.stderr.decode()
    assert lines[0] in ("one [redacted]", "two [redacted]", "three [redacted]")
    assert sorted(lines[:3]) == ["one [redacted]", "three [redacted]", "two [redacted]"]
    assert lines[3].strip("x") == "[redacted]"
    assert lines[4:] == ["no end [redacted]", "after"]
